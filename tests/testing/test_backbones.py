"""The contract of backbones passes for unusual correct backbones and finds every deliberate mistake."""

import copy
import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import vitsplice_tiny

from tests.testing.failures import failures
from vitsplice.backbones.inputs import normalised
from vitsplice.backbones.vit import TimmViT
from vitsplice.contracts import FeatureRequest, Features
from vitsplice.errors import ConfigError
from vitsplice.testing import BackboneContract
from vitsplice.testing.inputs import tiny_vit


@pytest.fixture(scope="module", autouse=True)
def _earlier_objects_frozen():
    """Exclude objects of earlier tests from garbage collection and from counts of tensors, which would take seconds."""
    gc.collect()  # garbage that is frozen would never be collected
    gc.freeze()


def vit():
    roles = {"structure": FeatureRequest("token", -2), "appearance": FeatureRequest("pooled", 1)}
    return vitsplice_tiny.tiny_vit(**roles)


def cnn():
    roles = {"structure": FeatureRequest("map", -3), "appearance": FeatureRequest("pooled", -2)}
    return vitsplice_tiny.tiny_cnn(**roles)


@pytest.mark.slow
@pytest.mark.parametrize("build", [vit, cnn], ids=["ViT", "CNN"])
def test_backbone_with_default_requests_at_middle_layers_passes(build):
    assert failures(BackboneContract, backbone=build()) == {}


def test_block_number_is_stored_as_layer_counted_from_the_end():
    assert vit().info.appearance == FeatureRequest("pooled", -2)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"structure": FeatureRequest("cls")}, "structure=.* needs a local facet: key, query"),
        ({"appearance": FeatureRequest("key")}, "appearance=.* needs a global facet: cls, pooled"),
        ({"structure": FeatureRequest("key", 3)}, "has no layer 3; it has 0 to 2, which are also -3 to -1"),
        ({"structure": FeatureRequest("map")}, "has no facet 'map'"),
    ],
)
def test_invalid_default_request_is_rejected(roles, message):
    with pytest.raises(ConfigError, match=message):
        vitsplice_tiny.tiny_vit(**roles)


class Mutant:
    """A tiny ViT to which a subclass or ``info`` adds a mistake: in its info, its inputs or its features."""

    def __init__(self, **info):
        self.inner = copy.deepcopy(tiny_vit())
        self.info = replace(self.inner.info, **info)
        self.calls = 0

    def __call__(self, images, requests):
        self.calls += 1
        return {request: self.changed(features) for request, features in self.inner(images, requests).items()}

    def changed(self, features):
        return self.changed_local(features) if features.grid else features

    def changed_local(self, features):
        return features

    def to(self, device, dtype):
        self.inner.to(device, dtype)
        return self


class NormalisesTwice(Mutant):
    def __call__(self, images, requests):
        return super().__call__(normalised(self.info, images), requests)


class DropsClsToken(Mutant):
    def changed_local(self, features):
        return Features(features.patches, features.grid, 0)


class DropsClsTokenButCountsIt(Mutant):
    def changed_local(self, features):
        return Features(features.values[:, 1:], features.grid, features.prefix)


class TransposesGrid(Mutant):
    def changed_local(self, features):
        return Features(features.values, features.grid[::-1], features.prefix)


class FlipsPatches(Mutant):
    def changed_local(self, features):
        flipped = features.maps.flip(-1).flatten(2).transpose(1, 2)
        return Features(torch.cat([features.values[:, : features.prefix], flipped], 1), features.grid, features.prefix)


class HasTrainableParameters(Mutant):
    def __init__(self):
        super().__init__()
        for parameter in self.inner.model.parameters():
            parameter.requires_grad_(True)


class DetachesFeatures(Mutant):
    def changed(self, features):
        return replace(features, values=features.values.detach())


class DoublesGradient(Mutant):
    def changed(self, features):
        return replace(features, values=2 * features.values - features.values.detach())


class UsesGlobalRandomState(Mutant):
    def changed(self, features):
        torch.rand(1)
        return features


class IsNotDeterministic(Mutant):
    def changed(self, features):
        noise = torch.rand(features.values.shape, generator=torch.Generator().manual_seed(self.calls))
        return replace(features, values=features.values + 0.01 * noise)


class DependsOnBatch(Mutant):
    def changed(self, features):
        return replace(features, values=features.values - 0.5 * features.values.mean(0, keepdim=True))


class ReturnsHalfPrecision(Mutant):
    def changed(self, features):
        return replace(features, values=features.values.half())


class Trainable(TimmViT):
    def train(self, mode=True):
        return torch.nn.Module.train(self, mode)


class Network(torch.nn.Module):
    """An ordinary module around a backbone: unlike the backbone, it has a training mode."""

    def __init__(self):
        super().__init__()
        self.backbone = copy.deepcopy(tiny_vit())

    def forward(self, images, requests):
        return self.backbone(images, requests)


class HasModuleInEvalMode(Mutant):
    def __init__(self):
        super().__init__()
        self.inner = Network().eval()
        self.inner.requires_grad_(False)


class HasModuleInTrainingMode(HasModuleInEvalMode):
    def __init__(self):
        super().__init__()
        self.inner.train()


class HasSlots:
    __slots__ = ("info", "inner")

    def __init__(self):
        self.inner = copy.deepcopy(tiny_vit())
        self.info = self.inner.info

    def __call__(self, images, requests):
        return self.inner(images, requests)

    def to(self, device, dtype):
        self.inner.to(device, dtype)
        return self


class StoresFeatures(Mutant):
    def __init__(self):
        super().__init__()
        self.stored = []

    def changed(self, features):
        self.stored.append(features.values.detach().clone())
        return features


class LeavesCycles(Mutant):
    def changed(self, features):
        cycle = [features.values.detach().clone()]
        cycle.append(cycle)
        return features


class ModifiesInput(Mutant):
    def __call__(self, images, requests):
        with torch.no_grad():
            images.mul_(0.9)
        return super().__call__(images, requests)


class DependsOnOtherRequests(Mutant):
    def __call__(self, images, requests):
        features = super().__call__(images, requests)
        return {request: replace(f, values=f.values * len(features)) for request, f in features.items()}


class RaisesKeyError(Mutant):
    def __call__(self, images, requests):
        if any(request.facet not in self.info.facets for request in requests):
            raise KeyError("facet")
        return super().__call__(images, requests)


class ReturnsMoreThanRequested(Mutant):
    def __call__(self, images, requests):
        return super().__call__(images, [*requests, FeatureRequest("value")])


class PutsClsLast(Mutant):
    def changed_local(self, features):
        return replace(features, values=features.values.roll(-features.prefix, 1))


class GivesGlobalFeaturesAGrid(Mutant):
    def changed(self, features):
        return features if features.grid else replace(features, grid=(1, 1))


class TransposesGridOfPortraits(TransposesGrid):
    def changed_local(self, features):
        return super().changed_local(features) if features.grid[0] > features.grid[1] else features


class CropsWidth(Mutant):
    def __call__(self, images, requests):
        return super().__call__(images[..., : images.shape[-1] // 8 * 8], requests)


class TakesLowLayersAsTheFirst(Mutant):
    def __call__(self, images, requests):
        valid = {request: replace(request, layer=max(request.layer, -self.info.layers)) for request in requests}
        features = super().__call__(images, list(valid.values()))
        return {request: features[valid[request]] for request in requests}


class IgnoresDtype(Mutant):
    def to(self, device, dtype):
        return super().to(device, torch.float32)


class RoundsGridDown(Mutant):
    def __init__(self):
        super().__init__(size_multiple=1)

    def __call__(self, images, requests):
        height, width = (side // 8 * 8 for side in images.shape[-2:])
        return super().__call__(images[..., :height, :width], requests)


def with_info(**info):
    """Return a function, named after the entry, that builds a mutant with a wrong entry in its info."""
    build = lambda: Mutant(**info)  # noqa: E731
    build.__name__ = f"states-{'-'.join(info)}"
    return build


def trainable():
    return Trainable(copy.deepcopy(tiny_vit()).model, name="mutant", licence="none", source="none", cls_normalised=True)


MUTANTS = {
    NormalisesTwice: "normalisation",
    with_info(mean=(0.1, 0.2, 0.3)): "normalisation",
    DropsClsToken: "cls_token",
    DropsClsTokenButCountsIt: "shapes_and_grid",
    TransposesGrid: "shapes_and_grid",
    FlipsPatches: "grid_matches",
    HasTrainableParameters: "frozen",
    DetachesFeatures: "gradients_reach",
    DoublesGradient: "finite_differences",
    UsesGlobalRandomState: "deterministic",
    IsNotDeterministic: "deterministic",
    DependsOnBatch: "batch",
    with_info(stride=16): "shapes_and_grid",
    with_info(size_multiple=16): "sizes",
    with_info(structure=FeatureRequest("key", 1)): "info_is_complete",
    with_info(licence=" "): "info_is_complete",
    ReturnsHalfPrecision: "float32",
    trainable: "eval_mode",
    HasModuleInTrainingMode: "eval_mode",
    StoresFeatures: "memory",
    ModifiesInput: "input_is_not_modified",
    DependsOnOtherRequests: "other_requests",
    RaisesKeyError: "unknown_facets",
    ReturnsMoreThanRequested: "other_requests",
    PutsClsLast: "cls_token_precedes",
    GivesGlobalFeaturesAGrid: "shapes_and_grid",
    TransposesGridOfPortraits: "sizes",
    CropsWidth: "sizes",
    TakesLowLayersAsTheFirst: "unknown_facets",
    IgnoresDtype: "bfloat16",
}


@pytest.mark.slow
def test_correct_backbone_passes():
    assert failures(BackboneContract, backbone=Mutant()) == {}


@pytest.mark.slow
def test_tensors_that_a_garbage_collection_frees_are_no_growth():
    assert failures(BackboneContract, "memory", backbone=LeavesCycles()) == {}


def test_grid_that_is_rounded_down_passes():
    class OddSize(BackboneContract):
        size = (70, 100)

    assert failures(OddSize, "grid", backbone=RoundsGridDown()) == {}


def test_backbone_whose_inner_module_is_in_eval_mode_passes():
    assert failures(BackboneContract, "eval_mode", backbone=HasModuleInEvalMode()) == {}


def test_module_in_a_slot_is_not_searched():
    skipped = failures(BackboneContract, "normalisation", "skipped", backbone=HasSlots())
    assert list(skipped.values()) == ["the backbone contains no torch module that is called with the image"]
    assert failures(BackboneContract, "gradients_reach", backbone=HasSlots()) == {}


@pytest.mark.parametrize(("weights", "failed"), [(Path("w.pth"), False), (None, True)])
def test_source_is_compared_unless_the_weights_are_from_a_file(weights, failed):
    backbone = Mutant(source="file w.pth")
    members = {"name": "tiny-vit", "weights": weights, "backbone": lambda _: backbone}
    (result,) = type("TinyContract", (BackboneContract,), members).run_checks("spec_matches_info")
    assert result.outcome == ("failed" if failed else "passed"), result.reason


@pytest.mark.slow
@pytest.mark.parametrize("build", MUTANTS, ids=lambda build: build.__name__)
def test_violated_backbone_contract_is_detected(build):
    reasons = failures(BackboneContract, MUTANTS[build], backbone=build())
    assert reasons
    assert all(0 < len(reason) < 300 for reason in reasons.values())
