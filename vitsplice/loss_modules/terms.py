"""Loss terms on entire images, as a module: what the module of one term and that of a preset share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from vitsplice.backbones.sizing import Area, Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, FeatureRequest, Features, ImageName
from vitsplice.engine.backbones import load_backbone
from vitsplice.engine.features import extract
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import FeatureTable
from vitsplice.engine.terms import WeightedTerm, output_requests, target_requests, term_values
from vitsplice.errors import UserError
from vitsplice.images import read
from vitsplice.images.checks import OVERSHOOT, image_batch
from vitsplice.numerics import numerics
from vitsplice.presets.settings import name_of

SIDES = range(16, 4097)
"""Shorter sides in pixels at which a backbone may view images."""

Batches = Mapping[ImageName, Tensor]
"""RunImages ``(B, 3, H, W)`` in [0, 1] by their role."""


class TermsLoss(nn.Module):
    """Loss terms on entire images, and the images that outputs are compared with: what the modules below share.

    Args:
        backbone: loaded; its device decides where outputs have to be.
        terms: built for it; their places are ``(image, "entire")``.
        look: brings images to the size at which the backbone views them.
        check: whether to check the range of every output's values; on a GPU that waits for the device.
    """

    def __init__(self, backbone: Backbone, terms: tuple[WeightedTerm, ...], look: Resize | Area, check: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.terms = terms
        self.look = look
        self.check = check
        self._images: Batches = {}
        self._known: tuple[torch.device, list[FeatureTable]] | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, by its name."""
        return {term.name: term.weight for term in self.terms}

    def set_targets(self, structure: Any = None, appearance: Any = None, start: Any = None) -> Self:
        """Set the images that outputs are compared with, in place of those set before. Returns the module.

        Their features are computed at the next call, once.

        Args:
            structure, appearance: each a batch ``(B, 3, H, W)`` in [0, 1], or one image of any kind that
                `vitsplice.splice` takes. One image serves a batch of outputs.
            start: likewise; the image whose edges an output keeps (the term ``edges``). None: the structure image, or
                what the preset starts from.

        Raises:
            ImageError: if one is no image, or outside [0, 1].
        """
        given: dict[ImageName, Any] = {"structure": structure, "appearance": appearance, "start": start}
        self._images = {image: _batch(source, image) for image, source in given.items() if source is not None}
        self._known = None
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the module; what was computed with the backbone as it was is dropped."""
        self._known = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _output(self, pixels: Tensor, name: str) -> Tensor:
        """A checked output."""
        batch = image_batch(pixels, name, tolerance=OVERSHOOT, check=self.check)
        weight = next(self.backbone.parameters(), None) if isinstance(self.backbone, nn.Module) else None
        if weight is not None and weight.device != batch.device:
            raise UserError(f"'{name}' is on {batch.device} and the loss on {weight.device}: loss.to('{batch.device}')")
        return batch

    def _values(self, outputs: Batches, images: Batches | None = None) -> dict[str, Tensor]:
        """The unweighted value of each term, the mean over the batch.

        Args:
            outputs: checked, by the image that they are made of.
            images: to compare with; None: those that were set, whose features are cached.
        """
        self._check_fit(outputs, self._images if images is None else images)
        device = next(iter(outputs.values())).device
        with numerics(grad=None):
            known = self._cached(device) if images is None else self._targets(images, device)
            needs: dict[ViewKey, list[FeatureRequest]] = {
                (image, "entire"): output_requests(term for term in self.terms if term.input[0] == image)
                for image in outputs
            }
            tables = self._features(outputs, needs)
            rows = range(max(len(tables), len(known)))
            values = [term_values(self.terms, tables[r % len(tables)], known[r % len(known)]) for r in rows]
        return {term.name: torch.stack([value[term.name] for value in values]).mean() for term in self.terms}

    def _cached(self, device: torch.device) -> list[FeatureTable]:
        """The features of the images that were set, computed once for a device."""
        if self._known is None or self._known[0] != device:
            self._known = device, self._targets(self._images, device)
        return self._known[1]

    def _targets(self, images: Batches, device: torch.device) -> list[FeatureTable]:
        """The features that outputs are compared with, row by row, without gradients."""
        with numerics(grad=False):
            needs = target_requests(self.terms)
            images = {image: batch.to(device) for image, batch in images.items()}
            if ("start", "entire") in needs and "start" not in images:
                images["start"] = self._start(images)
            return self._features(images, needs)

    def _start(self, images: Batches) -> Tensor:
        """The images whose edges outputs keep, where none were set."""
        return images["structure"]

    def _features(self, images: Batches, needs: Mapping[ViewKey, list[FeatureRequest]]) -> list[FeatureTable]:
        """Features by place for each row of a batch; what needs the same features shares a pass."""
        features: dict[tuple[int, ViewKey], dict[FeatureRequest, Features]] = {}
        for requests in {frozenset(requests): requests for requests in needs.values()}.values():
            places = [place for place in needs if set(needs[place]) == set(requests)]
            rows = {(row, p): one for p in places for row, one in enumerate(singles(images[p[0]]))}
            features |= extract(self.backbone, self.look, rows, requests)
        counts = {place: len(images[place[0]]) for place in needs}
        return [{p: features[row % counts[p], p] for p in needs} for row in range(max(counts.values()))]

    def _check_fit(self, outputs: Batches, images: Batches) -> None:
        """Raise UserError unless the images that terms need are there, and batches and sizes fit."""
        available = {*images, *(["start"] if "structure" in images else [])}
        for name, image in ((term.name, image) for term in self.terms for image, _ in target_requests([term])):
            if image not in available:
                raise UserError(f"term '{name}' needs the image '{image}': loss.set_targets({image}=...) sets it")
        counts = [(f"output of {image}", len(batch)) for image, batch in outputs.items()]
        counts += [(image, len(batch)) for image, batch in images.items()]
        if len({count for _, count in counts} - {1}) > 1:
            what = ", ".join(f"{name} {count}" for name, count in counts)
            raise UserError(f"batches differ in size ({what}); one image serves any number")
        for term in self.terms:
            if not all(request.facet in GLOBAL_FACETS for request in term.term.requests):
                self._check_sizes(term, outputs[term.input[0]], images)

    def _check_sizes(self, term: WeightedTerm, output: Tensor, images: Batches) -> None:
        """Raise UserError unless the output is viewed at the size of the images whose locations it is compared with."""
        for image in dict.fromkeys([term.input[0], term.target[0]]):
            aligned = image in (term.input[0], "start") and image in images
            if aligned and self._seen(images[image]) != self._seen(output):
                ours, theirs = (f"{batch.shape[-2]}x{batch.shape[-1]}" for batch in (output, images[image]))
                raise UserError(
                    f"term '{term.name}' compares locations: the backbone views the output, {ours} (height x width), "
                    f"at another size than the {image} image, {theirs}; resize one of them to the other"
                )

    def _seen(self, batch: Tensor) -> tuple[int, int]:
        """The height and width at which the backbone views a batch."""
        return self.look.target_size(batch.shape[-2], batch.shape[-1], self.backbone.info)


def loaded(backbone: Backbone | str) -> Backbone:
    """A backbone by its name, or the one that was given. Raises UserError if it is neither."""
    if name_of(backbone) is None:
        raise UserError("backbone is missing: give its name, or a loaded one")
    return load_backbone(backbone) if isinstance(backbone, str) else backbone


def resized(size: int | None) -> Resize:
    """Brings images to a shorter side; None leaves them as they are. Raises UserError for a side out of range."""
    if size is not None and size not in SIDES:
        raise UserError(f"size={size!r} is not allowed: a whole number from {SIDES[0]} to {SIDES[-1]} px, or None")
    return Resize(size)


def _batch(source: Any, name: str) -> Tensor:
    """RunImages to compare with, checked, in memory of their own that autograd may use."""
    with numerics(grad=False):
        if isinstance(source, Tensor):
            return image_batch(source.detach(), name, tolerance=OVERSHOOT).clone()
        return read(source).pixels.clone()


def singles(batch: Tensor) -> list[Tensor]:
    """The images of a batch, each ``(1, 3, H, W)``."""
    return [batch[row : row + 1] for row in range(len(batch))]
