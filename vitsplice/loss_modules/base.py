"""Base module of the losses: evaluation of loss terms on batches of entire images, with cached target features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from vitsplice.backbones.inputs import Area, Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, FeatureRequest, Features, ImageName
from vitsplice.engine.features import extract
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import FeatureTable
from vitsplice.engine.terms import WeightedTerm, output_requests, target_requests, term_values
from vitsplice.errors import UserError
from vitsplice.images import read
from vitsplice.images.checks import OVERSHOOT, image_batch
from vitsplice.numerics import numerics

SIDES = range(16, 4097)
"""Allowed shorter sides in pixels of images at a backbone's input."""

Batches = Mapping[ImageName, Tensor]
"""Batches ``(B, 3, H, W)`` in [0, 1] by the role of their images."""


class TermsLoss(nn.Module):
    """Loss terms on entire images.

    Args:
        backbone: loaded backbone; outputs must be on its device.
        terms: terms built for it, with views ``(image, "entire")``.
        resize: resizes images to the input size of the backbone.
        check: check the value range of every output, which on a GPU waits for the device.
    """

    def __init__(self, backbone: Backbone, terms: tuple[WeightedTerm, ...], resize: Resize | Area, check: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.terms = terms
        self.resize = resize
        self.check = check
        self._images: Batches = {}
        self._cache: tuple[torch.device, list[FeatureTable]] | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by its name."""
        return {term.name: term.weight for term in self.terms}

    def set_targets(self, structure: Any = None, appearance: Any = None, start: Any = None) -> Self:
        """Replace the images that outputs are compared with. Their features are computed once, in the next call.

        Args:
            structure, appearance: each a batch ``(B, 3, H, W)`` in [0, 1], or one image of any kind that
                `vitsplice.images.read` accepts. One image serves a batch of outputs.
            start: likewise, the image whose edges the term ``edges`` preserves. None uses the structure image, or what
                the preset starts from.

        Returns:
            The module.

        Raises:
            ImageError: if an image is invalid, or has values outside [0, 1].
        """
        sources: dict[ImageName, Any] = {"structure": structure, "appearance": appearance, "start": start}
        self._images = {image: _target_batch(source, image) for image, source in sources.items() if source is not None}
        self._cache = None
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the module, and drop features that were computed before."""
        self._cache = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _checked(self, pixels: Tensor, name: str) -> Tensor:
        """Convert an argument to a batch, and check that it is on the device of the backbone."""
        batch = image_batch(pixels, name, tolerance=OVERSHOOT, check=self.check)
        weight = next(self.backbone.parameters(), None) if isinstance(self.backbone, nn.Module) else None
        if weight is not None and weight.device != batch.device:
            raise UserError(f"'{name}' is on {batch.device} and the loss on {weight.device}: loss.to('{batch.device}')")
        return batch

    def _values(self, outputs: Batches, images: Batches | None = None) -> dict[str, Tensor]:
        """Compute the unweighted value of each term, the mean over the batch.

        Args:
            outputs: checked outputs, by the image that they are generated from.
            images: images to compare with; None uses those of `set_targets`, whose features are cached.
        """
        self._check_images(outputs, self._images if images is None else images)
        device = next(iter(outputs.values())).device
        with numerics(grad=None):
            targets = self._cached_targets(device) if images is None else self._targets(images, device)
            requests: dict[ViewKey, list[FeatureRequest]] = {
                (image, "entire"): output_requests(term for term in self.terms if term.input[0] == image)
                for image in outputs
            }
            tables = self._features(outputs, requests)
            rows = range(max(len(tables), len(targets)))
            values = [term_values(self.terms, tables[r % len(tables)], targets[r % len(targets)]) for r in rows]
        return {term.name: torch.stack([value[term.name] for value in values]).mean() for term in self.terms}

    def _cached_targets(self, device: torch.device) -> list[FeatureTable]:
        if self._cache is None or self._cache[0] != device:
            self._cache = device, self._targets(self._images, device)
        return self._cache[1]

    def _targets(self, images: Batches, device: torch.device) -> list[FeatureTable]:
        """Compute the features of the targets for each row of a batch, without gradients."""
        with numerics(grad=False):
            requests = target_requests(self.terms)
            images = {image: batch.to(device) for image, batch in images.items()}
            if ("start", "entire") in requests and "start" not in images:
                images["start"] = self._start(images)
            return self._features(images, requests)

    def _start(self, images: Batches) -> Tensor:
        """Return the start images if none were set."""
        return images["structure"]

    def _features(self, images: Batches, requests: Mapping[ViewKey, list[FeatureRequest]]) -> list[FeatureTable]:
        """Compute features by view for each row of a batch. Views with the same requests share a backbone pass."""
        features: dict[tuple[int, ViewKey], dict[FeatureRequest, Features]] = {}
        for group in {frozenset(group): group for group in requests.values()}.values():
            keys = [key for key in requests if set(requests[key]) == set(group)]
            rows = {(row, key): image for key in keys for row, image in enumerate(split_batch(images[key[0]]))}
            features |= extract(self.backbone, self.resize, rows, group)
        counts = {key: len(images[key[0]]) for key in requests}
        return [{key: features[row % counts[key], key] for key in requests} for row in range(max(counts.values()))]

    def _check_images(self, outputs: Batches, images: Batches) -> None:
        """Raise UserError unless all required images are set, and the sizes of batches and images match."""
        available = {*images, *(["start"] if "structure" in images else [])}
        for name, image in ((term.name, image) for term in self.terms for image, _ in target_requests([term])):
            if image not in available:
                raise UserError(f"term '{name}' needs the image '{image}': loss.set_targets({image}=...) sets it")
        counts = [(f"output of {image}", len(batch)) for image, batch in outputs.items()]
        counts += [(image, len(batch)) for image, batch in images.items()]
        if len({count for _, count in counts} - {1}) > 1:
            sizes = ", ".join(f"{name} {count}" for name, count in counts)
            raise UserError(f"batches differ in size ({sizes}); one image serves a batch of any size")
        for term in self.terms:
            if not all(request.facet in GLOBAL_FACETS for request in term.term.requests):
                self._check_sizes(term, outputs[term.input[0]], images)

    def _check_sizes(self, term: WeightedTerm, output: Tensor, images: Batches) -> None:
        """Raise UserError unless the output is resized to the same size as the images that it is compared with."""
        for image in dict.fromkeys([term.input[0], term.target[0]]):
            aligned = image in (term.input[0], "start") and image in images
            if aligned and self._input_size(images[image]) != self._input_size(output):
                ours, theirs = (f"{batch.shape[-2]}x{batch.shape[-1]}" for batch in (output, images[image]))
                raise UserError(
                    f"term '{term.name}' compares locations: for the backbone the output, {ours} (height x width), "
                    f"is resized to another size than the {image} image, {theirs}; resize one of them to the other"
                )

    def _input_size(self, batch: Tensor) -> tuple[int, int]:
        """Return the height and width of a batch at the backbone's input."""
        return self.resize.target_size(batch.shape[-2], batch.shape[-1], self.backbone.info)


def resize_to_side(size: int | None) -> Resize:
    """Return a resizing to a shorter side; None keeps the size. Raises UserError for a side out of range."""
    if size is not None and size not in SIDES:
        raise UserError(f"size={size!r} is not allowed: an integer from {SIDES[0]} to {SIDES[-1]} px, or None")
    return Resize(size)


def _target_batch(source: Any, name: str) -> Tensor:
    """Check target images, and copy them to memory that autograd may use."""
    with numerics(grad=False):
        if isinstance(source, Tensor):
            return image_batch(source.detach(), name, tolerance=OVERSHOOT).clone()
        return read(source).pixels.clone()


def split_batch(batch: Tensor) -> list[Tensor]:
    """Split a batch into images ``(1, 3, H, W)``."""
    return [batch[row : row + 1] for row in range(len(batch))]
