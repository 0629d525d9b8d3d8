"""Features of the images of a run, without gradients: what outputs are compared with, and what guides the terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitsplice.config import ViewsConfig
from vitsplice.contracts import GIVEN_FACETS, MASK, Backbone, FeatureRequest, Features, ImageName
from vitsplice.engine.features import Resizer, extract
from vitsplice.engine.views import View, draw_for, entire

Place = tuple[ImageName, str]
"""An image of a step: of which image, and which view of it."""

MASKED: ImageName = "appearance"
"""The image whose mask says which of its features count; that of the structure image says what of the output does."""

FeatureTable = dict[Place, dict[FeatureRequest, Features]]


@dataclass(frozen=True)
class RunImages:
    """The images of a run, and where they take part.

    Args:
        pixels: each ``(1, 3, H, W)`` in [0, 1]; ``start`` has the size of ``structure``.
        masks: ``(1, 1, H, W)`` in [0, 1], for the images that have one.
    """

    pixels: Mapping[ImageName, Tensor]
    masks: Mapping[ImageName, Tensor] = field(default_factory=dict)

    def views(self, config: ViewsConfig, seed: int, step: int) -> dict[Place, View]:
        """The views of a step: they depend on the seed and the step alone. The start is seen as the structure is."""
        views: dict[Place, View] = {}
        for role, view in (("structure", config.structure), ("appearance", config.appearance)):
            image = self.pixels[role]  # type: ignore[index]
            views[role, "entire"] = entire(image)  # type: ignore[index]
            mask = self.masks.get(role)  # type: ignore[call-overload]
            views[role, "crop"] = draw_for(view, image, seed, step, role, mask)  # type: ignore[index]
        for kind in ("entire", "crop"):
            views["start", kind] = views["structure", kind]
        return views


class Targets:
    """Looks at views of the images; with a bank of views, at each only once."""

    def __init__(self, images: RunImages, backbone: Backbone, look: Resizer, config: ViewsConfig) -> None:
        self._images, self._backbone, self._look = images, backbone, look
        self._banked = {
            "structure": config.structure.bank is not None,
            "start": config.structure.bank is not None,
            "appearance": config.appearance.bank is not None,
        }
        self._bank: dict[tuple[Place, View, frozenset[FeatureRequest]], dict[FeatureRequest, Features]] = {}

    @torch.no_grad()
    def __call__(self, places: Mapping[Place, Iterable[FeatureRequest]], views: Mapping[Place, View]) -> FeatureTable:
        """The features of each place. Those that need the backbone share one pass, and one set of requests.

        An appearance image that has a mask comes with it, requested or not.
        """
        masked = {MASKED: [MASK]} if MASKED in self._images.masks else {}
        asked = {place: tuple(dict.fromkeys([*p, *masked.get(place[0], [])])) for place, p in places.items()}
        through = [place for place in asked if any(_needs_backbone(request) for request in asked[place])]
        union = tuple(dict.fromkeys(request for place in through for request in asked[place]))
        asked |= dict.fromkeys(through, union)
        found: FeatureTable = {}
        for requests in dict.fromkeys(asked.values()):
            found |= self._look_at([place for place in asked if asked[place] == requests], requests, views)
        return found

    def _look_at(
        self, places: list[Place], requests: tuple[FeatureRequest, ...], views: Mapping[Place, View]
    ) -> FeatureTable:
        keys = {place: (place, views[place], frozenset(requests)) for place in places}
        new = [place for place in places if keys[place] not in self._bank]
        found: FeatureTable = {}
        for batch in self._batches(new):
            images = {place: views[place](self._images.pixels[place[0]]) for place in batch}
            masks = {
                p: views[p].place(self._images.masks[MASKED]) for p in batch if p[0] == MASKED in self._images.masks
            }
            found |= extract(self._backbone, self._look, images, requests, masks)
        self._bank |= {keys[place]: found[place] for place in new if self._banked[place[0]]}
        return {place: found[place] if place in found else self._bank[keys[place]] for place in places}

    def _batches(self, places: list[Place]) -> list[list[Place]]:
        """What is kept is looked at alone, so that it does not depend on when; the rest shares a pass."""
        alone = [[place] for place in places if self._banked[place[0]]]
        together = [place for place in places if not self._banked[place[0]]]
        return [*alone, together] if together else alone


def _needs_backbone(request: FeatureRequest) -> bool:
    return request.facet == "match" or request.facet not in GIVEN_FACETS
