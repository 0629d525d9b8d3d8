"""What every backbone promises (`vitsplice.contracts.Backbone`)."""

from __future__ import annotations

import gc
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.backbones.inputs import fitting_size, normalised
from vitsplice.contracts import GLOBAL_FACETS, Backbone, FeatureRequest
from vitsplice.errors import UserError, VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.rng import stream
from vitsplice.testing.contract import Contract, images, near, random_state_untouched
from vitsplice.testing.probes import check_shape, images_seen, networks_of, with_square, wrong_sizes

CALLS = 50
"""Memory must not grow over so many calls."""

STEPS = (2e-2, 2e-3, 2e-4)
"""Of finite differences, lengths of the change over all pixels: one suits the network."""


@cache
def _built(name: str, weights: Path | None) -> Backbone:
    return catalogue().backbones[name].build(weights)


class BackboneContract(Contract):
    """The checks of a backbone.

    Attributes:
        weights: a file to build it with, or None.
        size: about the height and width of the images that it is tried on; they are brought to what it takes.
    """

    kind: ClassVar[str] = "backbones"
    weights: ClassVar[Path | None] = None
    size: ClassVar[tuple[int, int]] = (64, 96)

    def backbone(self) -> Backbone:
        """The backbone, built once; override it to test one that is not registered."""
        return _built(self.name, self.weights)

    def try_build(self) -> object:
        """Load it."""
        return self.backbone()

    def images(self, number: int = 2) -> Tensor:
        """Images that it takes."""
        return images(number, *fitting_size(self.backbone().info, *self.size))

    def roles(self) -> list[FeatureRequest]:
        """The requests that it gives for structure and for appearance."""
        info = self.backbone().info
        return [info.structure, info.appearance]

    def requests(self) -> list[FeatureRequest]:
        """Every facet, of the first layer, the last, and those of the roles."""
        info = self.backbone().info
        layers = dict.fromkeys((-1, -info.layers, info.structure.layer, info.appearance.layer))
        return [FeatureRequest(facet, layer) for facet in info.facets for layer in layers]

    def test_building_leaves_the_random_state_alone(self) -> None:
        """Building it does not touch the host program's random numbers."""
        spec = catalogue().backbones[self.name] if self.name else None
        if spec is None:
            raise SkipTest("it is not registered")
        with random_state_untouched("building it"):
            spec.build(self.weights)

    def test_its_facts_are_whole(self) -> None:
        """Licence, source, mean, std, stride and the rest are stated, and possible."""
        info = self.backbone().info
        assert info.licence.strip(), "no licence is stated"
        assert info.source.strip(), "no source of the weights is stated"
        assert len(info.mean) == len(info.std) == 3, "mean and std need three numbers each"
        assert all(value > 0 for value in info.std), "std must be above 0"
        assert info.layers > 0, "it has no layers"
        for name in ("stride", "size_multiple", "min_size"):
            assert getattr(info, name) > 0, f"{name} must be above 0"
        assert re.fullmatch("[0-9a-f]{64}|", info.sha256), "sha256 is no digest"
        for request in self.roles():
            assert request.facet in info.facets, f"its facets do not have {request}"
            assert -info.layers <= request.layer < 0, f"{request} does not count from the end, -{info.layers} to -1"
        assert info.structure.facet not in GLOBAL_FACETS, "structure needs a facet with places"
        assert info.appearance.facet in GLOBAL_FACETS, "appearance needs a facet of the whole image"

    def test_what_its_spec_tells_beforehand_is_true(self) -> None:
        """Stride and number of parameters are those of the network, where its spec states them."""
        if self.name not in catalogue().backbones:
            raise SkipTest("it is not listed")
        spec, info = catalogue().backbones[self.name], self.backbone().info
        for what in ("stride", "parameters"):
            told, found = getattr(spec, what), getattr(info, what)
            assert told in (0, found), f"its spec says {told} for {what}, the network {found}"
        assert (spec.licence, spec.source) == (info.licence, info.source), "licence or source differ from the spec's"

    def test_shapes_and_grid(self) -> None:
        """Local facets are (B, prefix + h * w, D) with a grid that has the image's shape; global ones (B, D)."""
        shown, info = self.images(), self.backbone().info
        found = self.backbone()(shown, self.requests())
        assert set(found) == set(self.requests()), "it does not answer just what it is asked"
        for request, features in found.items():
            check_shape(request, features, len(shown))
        height, width = (-(-side // info.stride) for side in shown.shape[-2:])
        grid = found[FeatureRequest(info.structure.facet, -1)].grid
        assert grid == (height, width), (
            f"an image of {tuple(shown.shape[-2:])} px has the grid {grid} at the last layer, not {height, width}"
        )

    def test_the_cls_row_is_counted(self) -> None:
        """Where there is a [CLS], tokens without a place stand before the grid and are counted as prefix."""
        info = self.backbone().info
        if "cls" not in info.facets:
            raise SkipTest("it has no [CLS]")
        found = self.backbone()(self.images(1), [info.structure])[info.structure]
        assert found.prefix >= 1, f"prefix is {found.prefix}, although it has a [CLS]"

    def test_places_lie_where_they_are_seen(self) -> None:
        """What changes near a corner of the image changes that corner of the grid, row by row."""
        before = self.images(1)
        for wanted in ((0.15, 0.85), (0.85, 0.15)):
            seen = self._place_of_change(before, with_square(before, wanted))
            off = max(abs(s - w) for s, w in zip(seen, wanted, strict=True))
            assert off < 0.25, f"a change at {wanted} of height and width is found at {seen[0]:.2f}, {seen[1]:.2f}"

    def _place_of_change(self, before: Tensor, after: Tensor) -> tuple[float, float]:
        """Where the first layer's features differ most, as parts of height and width."""
        request = FeatureRequest(self.backbone().info.structure.facet, -self.backbone().info.layers)
        first, second = (self.backbone()(shown, [request])[request].maps for shown in (before, after))
        change = (second - first).square().sum(1)[0]
        row, column = divmod(int(change.argmax()), change.shape[1])
        return (row + 0.5) / change.shape[0], (column + 0.5) / change.shape[1]

    def test_values_are_float32_and_finite(self) -> None:
        """Features are float32, and numbers."""
        for request, features in self.backbone()(self.images(), self.requests()).items():
            assert features.values.dtype == torch.float32, f"{request} is {features.values.dtype}"
            assert features.values.isfinite().all(), f"{request} is not finite"

    def test_the_same_twice_without_random_numbers(self) -> None:
        """The same image gives the same features, and no random number is drawn."""
        shown = self.images()
        with random_state_untouched("looking"):
            first, second = (self.backbone()(shown, self.roles()) for _ in range(2))
        for request in first:
            assert torch.equal(first[request].values, second[request].values), f"{request} differs from call to call"

    def test_it_does_not_change_the_image(self) -> None:
        """The images it is given stay as they are."""
        shown = self.images()
        before = shown.clone()
        self.backbone()(shown, self.roles())
        assert torch.equal(shown, before), "it writes into the image"

    def test_frozen_and_in_eval_mode(self) -> None:
        """Weights take no gradients, and eval mode is kept."""
        for network in networks_of(self.backbone()):
            network.train()
            left = [name for name, module in network.named_modules() if module.training]
            assert not left, f"{left[0] or 'it'} can be put into training mode"
            free = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
            assert not free, f"{free[0]} takes gradients"

    def test_gradients_reach_the_image_and_only_it(self) -> None:
        """Structure and appearance can be differentiated in the image; no weight gets a gradient."""
        for request in self.roles():
            shown = self.images(1).requires_grad_()
            self.backbone()(shown, [request])[request].values.square().sum().backward()  # type: ignore[no-untyped-call]
            assert shown.grad is not None, f"{request} gives no gradient to the image"
            assert shown.grad.abs().sum() > 0, f"the gradient of {request} is zero"
            for network in networks_of(self.backbone()):
                got = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
                assert not got, f"{got[0]} got a gradient"

    def test_gradients_are_right(self) -> None:
        """Along the gradient, what it says is what a finite difference says."""
        for request in self.roles():
            shown = 0.25 + 0.5 * self.images(1)
            leaf = shown.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._value(leaf, request), leaf)
            told = float(gradient.norm())
            rises = [self._rise(shown, gradient / told, step, request) for step in STEPS]
            nearest = min(rises, key=lambda rise: abs(rise - told))
            assert abs(told - nearest) < 0.05 * told, f"{request}: gradient {told:.4g}, finite difference {nearest:.4g}"

    @torch.no_grad()
    def _rise(self, shown: Tensor, direction: Tensor, step: float, request: FeatureRequest) -> float:
        ahead, behind = (self._value(shown + way * direction, request) for way in (step, -step))
        return float(ahead - behind) / (2 * step)

    def _value(self, shown: Tensor, request: FeatureRequest) -> Tensor:
        """A number that goes by all of a feature."""
        values = self.backbone()(shown, [request])[request].values
        return (values @ torch.randn(values.shape[-1], generator=stream(0, "testing"))).mean()

    def test_a_batch_equals_one_by_one(self) -> None:
        """An image's features do not depend on its neighbours in the batch."""
        shown = self.images(3)
        together = self.backbone()(shown, self.roles())
        for row in range(3):
            alone = self.backbone()(shown[row : row + 1], self.roles())
            for request in alone:
                near(together[request].values[row : row + 1], alone[request].values, f"{request} in a batch and alone")

    def test_asked_together_or_alone(self) -> None:
        """A feature does not depend on what else is asked for."""
        shown = self.images(1)
        together = self.backbone()(shown, self.requests())
        for request in self.requests():
            alone = self.backbone()(shown, [request])
            assert set(alone) == {request}, f"asked for {request}, it answers {', '.join(map(str, alone))}"
            near(together[request].values, alone[request].values, f"{request} asked with others and alone")

    def test_it_normalises_once_as_it_says(self) -> None:
        """Its network sees the images less the stated mean, divided by the stated std."""
        shown = self.images(1)
        seen = images_seen(self.backbone(), shown, self.roles())
        if not seen:
            raise SkipTest("it holds no torch module that is given the image")
        near(seen[0].float(), normalised(self.backbone().info, shown), "what its network is given", 1e-2)

    def test_sizes_promised_and_refused(self) -> None:
        """It takes the sizes that its facts promise, and refuses others with a size that fits."""
        info = self.backbone().info
        if info.fixed_size is None:
            for size in (fitting_size(info, 2 * info.min_size, 5 * info.min_size), fitting_size(info, 80, 48)):
                self.backbone()(images(1, *size), [info.structure])
        for size in wrong_sizes(info):
            fits = "{}x{}".format(*fitting_size(info, *size))
            told = self._refusal(images(1, *size), info.structure)
            assert told is not None, f"{size} px should be refused: the facts say that {fits} fits"
            assert fits in told, f"the refusal of {size} px does not name {fits}, which fits: {told}"

    def test_what_it_has_not_is_refused(self) -> None:
        """A facet or a layer that it has not is refused with a UserError that names those it has."""
        info = self.backbone().info
        for request in (FeatureRequest("no-such-facet"), FeatureRequest(info.structure.facet, info.layers)):
            told = self._refusal(self.images(1), request)
            assert told is not None, f"{request} is not refused with a UserError"

    def _refusal(self, shown: Tensor, request: FeatureRequest) -> str | None:
        """What looking is refused with, or None if it is not."""
        try:
            self.backbone()(shown, [request])
        except UserError as error:
            return str(error)
        except Exception as error:
            raise AssertionError(f"it raises {type(error).__name__}, not a UserError") from error
        return None

    def test_weights_that_are_none_are_refused(self) -> None:
        """A weights file that is none is refused with an error for the user, and no code of it is run."""
        if not self.name:
            raise SkipTest("it is not registered")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            path.write_bytes(b"these are no weights")
            try:
                catalogue().backbones[self.name].build(path)
            except VitspliceError:
                return
            except Exception as error:
                raise AssertionError(f"it raises {type(error).__name__}, not a VitspliceError") from error
            raise AssertionError("it takes a file that holds no weights")

    def test_bfloat16(self) -> None:
        """With weights in bfloat16 features are float32 still, and near."""
        request, shown = self.backbone().info.appearance, self.images(1)
        full = self.backbone()(shown, [request])[request].values
        try:
            half = self.backbone().to("cpu", torch.bfloat16)(shown, [request])[request].values
        finally:
            self.backbone().to("cpu", torch.float32)
        assert half.dtype == torch.float32, f"features are {half.dtype}"
        alike = torch.nn.functional.cosine_similarity(full, half).min()
        assert alike > 0.95, f"cosine with the float32 features is {alike:.3f}"

    def test_on_an_accelerator(self) -> None:
        """On CUDA features are as on the CPU."""
        if not torch.cuda.is_available():
            raise SkipTest("no CUDA on this machine")
        request, shown = self.backbone().info.structure, self.images(1)
        here = self.backbone()(shown, [request])[request].values
        try:
            there = self.backbone().to("cuda", torch.float32)(shown.cuda(), [request])[request].values
        finally:
            self.backbone().to("cpu", torch.float32)
        near(there.cpu(), here, "features on CUDA and on the CPU", 2e-2)

    def test_memory_does_not_grow(self) -> None:
        """It keeps nothing of what it has seen."""
        shown = self.images(1)
        counts = []
        for calls in (3, CALLS):
            for _ in range(calls):
                self.backbone()(shown, [self.backbone().info.appearance])
            gc.collect()
            counts.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))
        assert counts[1] <= counts[0], f"{counts[1] - counts[0]} tensors more after {CALLS} calls"
