"""Base module of the losses: evaluation of loss terms on batches of entire images, with cached target features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import (
    GLOBAL_FACETS,
    INPUT,
    MASK,
    MATCH,
    POSITIONS,
    Backbone,
    FeatureRequest,
    Features,
    ImageName,
)
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import ViewKey
from vitsplice.engine.targets import FeatureTable
from vitsplice.engine.terms import WeightedTerm, image_requests, output_requests, term_values
from vitsplice.errors import UserError
from vitsplice.images import read
from vitsplice.images.checks import OVERSHOOT, image_batch
from vitsplice.matching import MatchVectors, correspond, match_vectors
from vitsplice.numerics import numerics

MATCH_GRID = 24
"""Grid of the correspondence (`vitsplice.matching.correspond`) in a loss without a preset."""

SIDES = range(16, 4097)
"""Allowed values of ``size``, the shorter side in pixels that images are resized to before a backbone."""

Batches = Mapping[ImageName, Tensor]
"""Batches ``(B, 3, H, W)`` in [0, 1], by name of the image."""

TargetFeatures = dict[str, list[FeatureTable]]
"""Features of the targets: key of a backbone -> a table for each image (row) of a batch."""

CacheKey = tuple[torch.device, tuple[tuple[torch.dtype, int, int], ...]]
"""Device of the outputs; dtype, identity and version (0 for inference tensors) of the networks' weights and buffers."""


class TermsLoss(nn.Module):
    """Loss terms on entire images.

    Args:
        backbones: loaded backbones by the keys that terms use; outputs must be on their device.
        terms: terms built for them, with views ``(image, "entire")``.
        check: check the value range of the images that are passed in a call. On a GPU, this check waits for the device.
    """

    def __init__(
        self, backbones: Mapping[str, SizedBackbone], terms: tuple[WeightedTerm, ...], check: bool = True
    ) -> None:
        super().__init__()
        modules = [sized.backbone for sized in backbones.values() if isinstance(sized.backbone, nn.Module)]
        self.networks = nn.ModuleList(modules)
        self.backbones = backbones
        self.terms = terms
        self.check = check
        self._images: Batches = {}
        self._cache: tuple[CacheKey, TargetFeatures] | None = None
        self._calls: int = 0
        self.register_load_state_dict_post_hook(_drop_cached_targets)  # type: ignore[no-untyped-call]

    @property
    def backbone(self) -> Backbone:
        """The first backbone."""
        return next(iter(self.backbones.values())).backbone

    @property
    def _mirrors(self) -> bool:
        """Whether the appearance image is replaced by its mirror image if that matches better."""
        return False

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by its name."""
        return {term.name: term.weight for term in self.terms}

    def set_targets(self, structure: Any = None, appearance: Any = None, start: Any = None) -> Self:
        """Replace all images that outputs are compared with; an image that is not given is removed.

        Features of the images are computed in the next call, and again only after the loss was moved or cast, or the
        weights of a backbone have changed.

        Args:
            structure, appearance: each a batch ``(B, 3, H, W)`` in [0, 1], or one image of any kind that
                `vitsplice.images.read` accepts. One image serves a batch of outputs.
            start: likewise, the start image, with which the term ``edges`` compares outputs. None: the warm start if
                the settings of a preset have one, otherwise the structure image.

        Returns:
            The module.

        Raises:
            ImageError: if an image is invalid, or has values outside [0, 1] (of a tensor: by more than `OVERSHOOT`).
        """
        sources: dict[ImageName, Any] = {"structure": structure, "appearance": appearance, "start": start}
        self._images = {image: _target_batch(source, image) for image, source in sources.items() if source is not None}
        self._cache = None
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the module, and drop features that were computed before."""
        self._cache = None
        with torch.inference_mode(False):  # tensors made in inference mode could not take part in a training later
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _replicate_for_data_parallel(self) -> NoReturn:
        """Raise UserError: each copy would use the networks on the first device, and the same random positions."""
        raise UserError(
            "torch.nn.DataParallel cannot copy a loss module to several devices; wrap only your network in it, and "
            "pass its output to the loss, or use DistributedDataParallel with one loss in each process"
        )

    def _checked(self, pixels: Tensor, name: str) -> Tensor:
        """Convert an argument to a batch, and check that it is on the device of the networks."""
        batch = image_batch(pixels, name, tolerance=OVERSHOOT, check=self.check)
        weight = next(self.networks.parameters(), None)
        if weight is not None and weight.device != batch.device:
            raise UserError(
                f"'{name}' is on {batch.device}, but the loss is on {weight.device}; "
                f"move the loss: loss.to('{batch.device}')"
            )
        return batch

    def _values(self, outputs: Batches, images: Batches | None = None) -> dict[str, Tensor]:
        """Compute the unweighted value of each term, averaged over the batch.

        Args:
            outputs: checked outputs, by the image that they are generated from.
            images: images to compare with; None uses those of `set_targets`, whose features are cached.
        """
        self._check_images(outputs, self._images if images is None else images)
        device = next(iter(outputs.values())).device
        self._calls += 1
        self._freeze()
        with numerics(grad=None):
            targets = self._cached_targets(device) if images is None else self._targets(images, device)
            values = {name: self._backbone_values(name, outputs, targets[name]) for name in targets}
        return {term.name: values[term.backbone][term.name] for term in self.terms}

    def _freeze(self) -> None:
        """Freeze the networks again, in case a module that contains the loss has unfrozen them.

        Frozen weights are not touched: torch.func refuses ``requires_grad_`` in the functions that it transforms.
        """
        for weight in self.networks.parameters():
            if weight.requires_grad:
                weight.requires_grad_(False)

    def _position_key(self, row: int) -> tuple[int, ...]:
        """Return the key of the random positions: different in each call and row, but always () in eval mode."""
        return (self._calls, row) if self.training else ()

    def _terms_of(self, backbone: str) -> list[WeightedTerm]:
        return [term for term in self.terms if term.backbone == backbone]

    def _backbone_values(self, name: str, outputs: Batches, targets: list[FeatureTable]) -> dict[str, Tensor]:
        """Compute the unweighted value of each term of a backbone, averaged over the batch."""
        terms = self._terms_of(name)
        # Without a mask of its own, the output would take that of its input image, whose size may differ.
        own_mask = [MASK] if any(MASK in term.loss_term.requests for term in terms) else []
        requests: dict[ViewKey, list[FeatureRequest]] = {
            (image, "entire"): [*output_requests(term for term in terms if term.input[0] == image), *own_mask]
            for image in dict.fromkeys(term.input[0] for term in terms)
        }
        tables = self._features(name, outputs, requests)
        rows = range(max(len(tables), len(targets)))
        values = [
            term_values(terms, tables[r % len(tables)], targets[r % len(targets)], *self._position_key(r)) for r in rows
        ]
        return {term.name: torch.stack([value[term.name] for value in values]).mean() for term in terms}

    def _cached_targets(self, device: torch.device) -> TargetFeatures:
        tensors = (*self.networks.parameters(), *self.networks.buffers())
        key = device, tuple((t.dtype, id(t), 0 if t.is_inference() else t._version) for t in tensors)
        if self._cache is None or self._cache[0] != key:
            self._cache = key, self._targets(self._images, device)
        return self._cache[1]

    def _targets(self, images: Batches, device: torch.device) -> TargetFeatures:
        """Compute the features of the targets by backbone and row of a batch, without gradients."""
        with numerics(grad=False):
            images = {image: batch.to(device) for image, batch in images.items()}
            guided = any(MATCH in term.loss_term.requests for term in self.terms)
            needs_start = ("start", "entire") in image_requests(self.terms) and "start" not in images
            vectors: list[MatchVectors] = []
            if {"structure", "appearance"} <= images.keys() and (guided or needs_start or self._mirrors):
                prepared, vectors = self._prepare(images, guided)
                images = {**prepared, "start": images.get("start", prepared["start"])}
            elif needs_start:
                images["start"] = images["structure"]
            targets = {}
            for name in dict.fromkeys(term.backbone for term in self.terms):
                requests = image_requests(self._terms_of(name))
                targets[name] = _with_vectors(self._features(name, images, requests), requests, vectors)
            return targets

    def _prepare(self, images: Batches, guided: bool) -> tuple[Batches, list[MatchVectors]]:
        """Return the images with a start image, and the vectors of the facet ``match`` for each pair.

        Args:
            guided: whether a term requests that facet; if not, the list of vectors is empty.
        """
        vectors = []
        if guided:
            for structure, appearance in paired_rows(images["structure"], images["appearance"]):
                match = correspond(structure, appearance, self.backbone, grid=MATCH_GRID)
                vectors.append(match_vectors(match, appearance))
        return {**images, "start": images["structure"]}, vectors

    def _features(
        self, backbone: str, images: Batches, requests: Mapping[ViewKey, list[FeatureRequest]]
    ) -> list[FeatureTable]:
        """Compute features by view for each row of a batch. Views with the same requests share backbone passes."""
        features: dict[tuple[int, ViewKey], dict[FeatureRequest, Features]] = {}
        for shared in {frozenset(own): own for own in requests.values()}.values():
            keys = [key for key in requests if set(requests[key]) == set(shared)]
            rows = {(row, key): image for key in keys for row, image in enumerate(torch.split(images[key[0]], 1))}
            requested = [request for request in shared if request not in (MATCH, POSITIONS)]
            features |= self.backbones[backbone].features(rows, requested)
        counts = {key: len(images[key[0]]) for key in requests}
        return [{key: features[row % counts[key], key] for key in requests} for row in range(max(counts.values()))]

    def _check_images(self, outputs: Batches, images: Batches) -> None:
        """Raise UserError unless all required images are set, and the sizes of batches and images match."""
        available = {*images, *(["start"] if "structure" in images else [])}
        # `_prepare` computes these from both images: the appearance image, which it may mirror, and a start not given.
        computed_from_both = {"appearance", *({"start"} - images.keys())} if self._mirrors else set()
        for term in self.terms:
            needs_both = MATCH in term.loss_term.requests or term.target[0] in computed_from_both
            both = ("structure", "appearance") if needs_both else ()
            for image in (*(image for image, _ in image_requests([term])), *both):
                if image not in available:
                    raise UserError(
                        f"term '{term.name}' needs the image '{image}'; set all images in one call: "
                        f"loss.set_targets({image}=..., ...)"
                    )
        counts = [(f"output for the {image} image", len(batch)) for image, batch in outputs.items()]
        counts += [(f"{image} image", len(batch)) for image, batch in images.items()]
        if len({count for _, count in counts} - {1}) > 1:
            sizes = ", ".join(f"{name}: {count}" for name, count in counts)
            raise UserError(f"batches differ in size ({sizes}); give equally many of each, or a single one")
        for term in self.terms:
            if not all(request.facet in GLOBAL_FACETS for request in term.loss_term.requests):
                self._check_sizes(term, outputs[term.input[0]], images)

    def _check_sizes(self, term: WeightedTerm, output: Tensor, images: Batches) -> None:
        """Raise UserError unless, at the backbone's input, the output is as large as images that share its locations.

        These images are the term's target and input image, if the target is the input image or the start; and the input
        image, if the term requests the facet ``input`` or ``match``. An image that is not in ``images`` is not checked.
        """
        shared = {term.target[0], term.input[0]} if term.target[0] in (term.input[0], "start") else set()
        if not {INPUT, MATCH}.isdisjoint(term.loss_term.requests):
            shared.add(term.input[0])
        sized = self.backbones[term.backbone]
        for image in sorted(shared & images.keys()):
            if _input_size(sized, images[image]) != _input_size(sized, output):
                ours, theirs = (f"{batch.shape[-2]}x{batch.shape[-1]}" for batch in (output, images[image]))
                raise UserError(
                    f"term '{term.name}' compares locations, so output and {image} image must have the same size at "
                    f"the backbone's input: the output is {ours} (height x width), the {image} image {theirs}; resize "
                    "one to the size of the other"
                )


def _drop_cached_targets(loss: TermsLoss, _: object) -> None:
    """Drop cached features after weights were loaded; weights made in inference mode have no version to compare.

    The hook gets the loss as its argument, so that a copy of a loss drops its own features, not those of the original.
    """
    loss._cache = None


def _input_size(sized: SizedBackbone, batch: Tensor) -> tuple[int, int]:
    """Return the height and width of a batch at a backbone's input."""
    return sized.resize.target_size(batch.shape[-2], batch.shape[-1], sized.backbone.info)


def _with_vectors(
    tables: list[FeatureTable], requests: Mapping[ViewKey, list[FeatureRequest]], vectors: list[MatchVectors]
) -> list[FeatureTable]:
    """Add the facet ``match`` where it is requested; a single table or a single pair of vectors serves all rows."""
    matched = [key for key in requests if MATCH in requests[key]]
    if not vectors or not matched:
        return tables
    rows = []
    for row in range(max(len(tables), len(vectors))):
        table = dict(tables[row % len(tables)])
        structure, appearance = vectors[row % len(vectors)].features()
        table |= {key: table[key] | {MATCH: appearance if key[0] == "appearance" else structure} for key in matched}
        rows.append(table)
    return rows


def paired_rows(first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Pair the images of two batches; a batch of one image serves all images of the other batch."""
    firsts, seconds = torch.split(first, 1), torch.split(second, 1)
    return [(firsts[r % len(firsts)], seconds[r % len(seconds)]) for r in range(max(len(firsts), len(seconds)))]


def resize_to_side(size: int | None) -> Resize:
    """Return a resizing to a shorter side; None keeps the size. Raises UserError for a side out of range."""
    if size is not None and size not in SIDES:
        allowed = f"an integer from {SIDES[0]} to {SIDES[-1]} px, or None"
        raise UserError(f"size={size!r} is not allowed; it must be {allowed}")
    return Resize(size)


def _target_batch(source: Any, name: str) -> Tensor:
    """Check and copy target images. Changes of the source have no effect, and the copy is no inference tensor."""
    with numerics(grad=False):
        if isinstance(source, Tensor):
            return image_batch(source.detach(), name, tolerance=OVERSHOOT).clone()
        return read(source).pixels.clone()
