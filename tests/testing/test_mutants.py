"""Plugins that are wrong on purpose: the kit finds each, and names it."""

from dataclasses import replace

import pytest
import torch

from vitsplice.backbones.vit import TimmViT
from vitsplice.contracts import FeatureRequest, Features, GeneratorSpec, LossSpec, LossTerm, Option
from vitsplice.errors import ConfigError
from vitsplice.testing import BackboneContract, GeneratorContract, LossContract, PresetContract
from vitsplice.testing.tiny import tiny_vit

pytestmark = pytest.mark.slow

KEY = FeatureRequest("key")


class Mutant:
    """A tiny ViT whose answers are spoilt."""

    def __init__(self, **facts):
        self.inner = vit()
        self.info = replace(self.inner.info, **facts)
        self.calls = 0

    def __call__(self, images, requests):
        self.calls += 1
        return {request: self.spoil(request, f) for request, f in self.inner(images, requests).items()}

    def spoil(self, request, features):
        return features

    def to(self, device, dtype):
        self.inner.to(device, dtype)
        return self


def vit():
    import copy

    return copy.deepcopy(tiny_vit())


class NormalisesTwice(Mutant):
    def __call__(self, images, requests):
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.info.mean, self.info.std))
        return super().__call__((images - mean) / std, requests)


class LiesAboutItsMean(Mutant):
    def __init__(self):
        super().__init__(mean=(0.1, 0.2, 0.3))


class DropsTheClsRow(Mutant):
    def spoil(self, request, features):
        return Features(features.patches, features.grid, 0) if features.grid else features


class DropsTheClsRowSilently(Mutant):
    def spoil(self, request, features):
        return Features(features.values[:, 1:], features.grid, features.prefix) if features.grid else features


class TransposesTheGrid(Mutant):
    def spoil(self, request, features):
        return Features(features.values, features.grid[::-1], features.prefix) if features.grid else features


class TransposesThePlaces(Mutant):
    def spoil(self, request, features):
        if not features.grid:
            return features
        turned = features.maps.flip(-1).flatten(2).transpose(1, 2)
        return Features(torch.cat([features.values[:, : features.prefix], turned], 1), features.grid, features.prefix)


class LeaksGradients(Mutant):
    def __init__(self):
        super().__init__()
        for parameter in self.inner.model.parameters():
            parameter.requires_grad_(True)


class CutsTheGradient(Mutant):
    def spoil(self, request, features):
        return replace(features, values=features.values.detach())


class DoublesTheGradient(Mutant):
    def spoil(self, request, features):
        return replace(features, values=2 * features.values - features.values.detach())


class UsesTheGlobalRandomState(Mutant):
    def spoil(self, request, features):
        torch.rand(1)
        return features


class IsNotDeterministic(Mutant):
    def spoil(self, request, features):
        noise = torch.rand(features.values.shape, generator=torch.Generator().manual_seed(self.calls))
        return replace(features, values=features.values + 0.01 * noise)


class DependsOnItsNeighbours(Mutant):
    def spoil(self, request, features):
        return replace(features, values=features.values - 0.5 * features.values.mean(0, keepdim=True))


class LiesAboutItsPatchSize(Mutant):
    def __init__(self):
        super().__init__(stride=16)


class LiesAboutTheSizesItTakes(Mutant):
    def __init__(self):
        super().__init__(size_multiple=16)


class CountsLayersFromZero(Mutant):
    def __init__(self):
        super().__init__(structure=FeatureRequest("key", 1))


class HasNoLicence(Mutant):
    def __init__(self):
        super().__init__(licence=" ")


class GivesHalfPrecision(Mutant):
    def spoil(self, request, features):
        return replace(features, values=features.values.half())


class CanBeTrained(TimmViT):
    def train(self, mode=True):
        return torch.nn.Module.train(self, mode)


class KeepsWhatItSaw(Mutant):
    def __init__(self):
        super().__init__()
        self.kept = []

    def spoil(self, request, features):
        self.kept.append(features.values.detach().clone())
        return features


class WritesIntoTheImage(Mutant):
    def __call__(self, images, requests):
        with torch.no_grad():
            images.mul_(0.9)
        return super().__call__(images, requests)


class AnswersOtherwiseInCompany(Mutant):
    def __call__(self, images, requests):
        found = super().__call__(images, requests)
        return {r: replace(f, values=f.values * len(found)) for r, f in found.items()}


class RefusesInItsOwnWords(Mutant):
    def __call__(self, images, requests):
        if any(request.facet not in self.info.facets for request in requests):
            raise KeyError("facet")
        return super().__call__(images, requests)


class AsksForMore(Mutant):
    def __call__(self, images, requests):
        return super().__call__(images, [*requests, FeatureRequest("value")])


def trainable():
    return CanBeTrained(vit().model, name="mutant", licence="none", source="none", cls_normalised=True)


BACKBONES = {
    NormalisesTwice: "normalises_once",
    LiesAboutItsMean: "normalises_once",
    DropsTheClsRow: "cls_row",
    DropsTheClsRowSilently: "shapes_and_grid",
    TransposesTheGrid: "shapes_and_grid",
    TransposesThePlaces: "places_lie",
    LeaksGradients: "frozen",
    CutsTheGradient: "gradients_reach",
    DoublesTheGradient: "gradients_are_right",
    UsesTheGlobalRandomState: "random",
    IsNotDeterministic: "same_twice",
    DependsOnItsNeighbours: "batch",
    LiesAboutItsPatchSize: "shapes_and_grid",
    LiesAboutTheSizesItTakes: "sizes",
    CountsLayersFromZero: "facts",
    HasNoLicence: "facts",
    GivesHalfPrecision: "float32",
    trainable: "eval_mode",
    KeepsWhatItSaw: "memory",
    WritesIntoTheImage: "change_the_image",
    AnswersOtherwiseInCompany: "together",
    RefusesInItsOwnWords: "has_not",
    AsksForMore: "together",
}


def broken(contract, only=""):
    return {verdict.check: verdict.why for verdict in contract.verdicts(only) if verdict.outcome == "broken"}


def contract_of(made):
    return type("Of", (BackboneContract,), {"backbone": lambda self: made})


def test_a_right_backbone_breaks_nothing():
    assert broken(contract_of(Mutant())) == {}


@pytest.mark.parametrize("mutant", BACKBONES, ids=lambda mutant: mutant.__name__)
def test_a_wrong_backbone_is_caught_and_named(mutant):
    found = broken(contract_of(mutant()), BACKBONES[mutant])
    assert found
    assert all(0 < len(why) < 300 for why in found.values())


def term(function, requests=(KEY,), **facts):
    facts = {"summary": "a term", "input": "structure", "target": "structure"} | facts

    def build(context):
        if "key" not in context.backbone.facets:
            raise ConfigError("it needs keys")
        context.request("structure")
        return LossTerm(tuple(requests), function)

    return LossSpec("mutant", build, **facts)


def distance(output, target):
    return (output[KEY].patches.mean(1) - target[KEY].patches.mean(1)).square().mean()


def writes(output, target):
    with torch.no_grad():
        target[KEY].values.mul_(0.5)
    return distance(output, target)


LOSSES = {
    "no-summary": (term(distance, summary=""), "facts"),
    "not-a-scalar": (term(lambda o, t: (o[KEY].patches.mean(1) - t[KEY].patches.mean(1)).square().mean(1)), "scalar"),
    "of-shape-1": (term(lambda o, t: distance(o, t).reshape(1)), "scalar"),
    "detached": (term(lambda o, t: distance(o, t).detach()), "gradients"),
    "not-a-number": (term(lambda o, t: distance(o, t) * float("nan")), "scalar"),
    "no-gradient": (term(lambda o, t: distance(o, t).detach().requires_grad_()), "gradients"),
    "asks-for-more": (term(distance, (KEY, FeatureRequest("value"))), "only_what"),
    "random": (term(lambda o, t: distance(o, t) + torch.rand(())), "random"),
    "writes": (term(writes), "changes_nothing"),
    "bad-default": (term(distance, options={"size": Option(3, "side", maximum=2)}), "facts"),
    "target-of-nothing": (term(distance, target="nothing"), "facts"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_loss_term_is_caught_and_named(name):
    spec, check = LOSSES[name]
    assert broken(type("Of", (LossContract,), {"spec": lambda self: spec}), check)


def test_a_right_loss_term_breaks_nothing_but_that_it_is_not_registered():
    found = broken(type("Of", (LossContract,), {"spec": lambda self: term(distance)}))
    assert found == {}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.conv(images).sigmoid()


class Ignores(Net):
    def forward(self, images):
        return super().forward(torch.zeros_like(images))


class Unbounded(Net):
    def forward(self, images):
        return self.conv(images) * 9


class Shrinks(Net):
    def forward(self, images):
        return super().forward(images)[..., ::2, ::2]


class Forgets(Net):
    """Part of what makes its image is not in its state dict."""

    def __init__(self):
        super().__init__()
        self.tint = torch.rand(1, 3, 1, 1)

    def forward(self, images):
        return super().forward(images) * self.tint


class HasADeadEnd(Net):
    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(3))


class Surprises(Net):
    def __init__(self):
        super().__init__()
        import random

        self.conv.bias.data.fill_(random.random())


class Overwrites(Net):
    def forward(self, images):
        with torch.no_grad():
            images.mul_(0.5)
        return super().forward(images)


GENERATORS = {
    Ignores: "fed_counts",
    Unbounded: "image_to_image",
    Shrinks: "image_to_image",
    Forgets: "kept_and_restored",
    HasADeadEnd: "optimised",
    Surprises: "same_seed",
    Overwrites: "left_alone",
}


def generator(made, **facts):
    spec = GeneratorSpec("mutant", lambda start, options: made(), "a generator", **facts)
    return type("Of", (GeneratorContract,), {"spec": lambda self: spec})


@pytest.mark.parametrize("made", GENERATORS, ids=lambda made: made.__name__)
def test_a_wrong_generator_is_caught_and_named(made):
    assert broken(generator(made), GENERATORS[made])


def test_a_canvas_that_looks_is_caught_and_a_right_generator_breaks_nothing():
    assert "a canvas that looks" in str(broken(generator(Net, canvas=True)))
    assert broken(generator(Net)) == {}


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("backbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: structure, weight: 1}}", "comes_from"),
        (
            "# x\nbackbone: {name: tiny-vit}\nsteps: 1\ndevice: cpu\nterms: {a: {loss: structure, weight: 1}}",
            "comes_from",
        ),
        ("# x\nbackbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: gram, weight: 1}}", "names_is_there"),
        ("# x\nbackbone: {name: tiny-vit}\nstepz: 1", "valid"),
    ],
)
def test_a_wrong_preset_is_caught_and_named(text, check):
    assert broken(type("Of", (PresetContract,), {"text": lambda self: text}), check)
