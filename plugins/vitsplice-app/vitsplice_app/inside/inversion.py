"""Inversions of the features of an image: form and computation, without components of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitsplice.errors import UserError
from vitsplice_app.backbones import shared_backbones
from vitsplice_app.images import NO_IMAGE
from vitsplice_app.live import Display, Progress
from vitsplice_app.numbers import whole_number

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from vitsplice.analysis.inversion import InversionPlan
    from vitsplice.contracts import Role
    from vitsplice.runs.run import Run

LONGER_SIDE = 448
"""Maximum longer side in pixels of the images that the tab shows."""


@dataclass(frozen=True)
class InversionForm:
    """Values of the form.

    Args:
        image: path of the image; None if there is none.
        roles: roles of the features to invert.
        backbone: name of the backbone of the features.
        layer: layer of the features, counted from 0 (the first) or from -1 (the last); None if the field is empty.
        steps: number of steps of each inversion; 0: the number in the preset that `plan_inversions` chooses for the
            feature; None if the field is empty.
        size: shorter side of the output in pixels.
        seed: seed of all random number generators; None if the field is empty.
    """

    image: str | None
    roles: Sequence[Role]
    backbone: str
    layer: int | None
    steps: int | None
    size: int
    seed: int | None

    def plan(self) -> InversionPlan:
        """Return the features and the settings of their inversions.

        Raises:
            UserError: if a value is missing or has a fraction; see also `plan_inversions`.
            WeightsUnavailable: see `plan_inversions`.
        """
        from vitsplice.analysis.inversion import plan_inversions

        if not self.image:
            raise UserError(NO_IMAGE)
        if not self.roles:
            raise UserError("choose at least one feature to invert")
        info = shared_backbones().named(self.backbone)[0].info
        return plan_inversions(
            self.image,
            [info.default_request(role).facet for role in self.roles],
            [whole_number("Layer", self.layer)],
            backbone=self.backbone,
            steps=whole_number("Steps", self.steps) or None,
            size=whole_number("Size (px)", self.size),
            seed=whole_number("Seed", self.seed),
            backbones=shared_backbones(),
        )


@dataclass(frozen=True)
class InversionState:
    """The state of inversions between two steps.

    Args:
        progress: state of the current inversion.
        images: the image, then each inversion that has ended or was stopped; with captions.
    """

    progress: Progress
    images: Sequence[tuple[Image, str]] = field(repr=False)


def invert(plan: InversionPlan, stopped: Callable[[], bool] = lambda: False) -> Iterator[InversionState]:
    """Invert features one after the other.

    Args:
        plan: features and settings of their inversions.
        stopped: called after each step and each inversion; True ends the current inversion, and no other begins.

    Yields:
        The state before the first inversion, after steps at the pace of `vitsplice_app.live.Pace`, and after each
        inversion.
    """
    from vitsplice.analysis.inversion import inversion_runs
    from vitsplice.images import read

    images = [(_small(read(plan.image).pixels[0]), "image")]
    yield InversionState(Progress("preparing the inversions"), list(images))
    for request, run in inversion_runs(plan, shared_backbones()):
        name, display = request.label(plan.layers), Display(run)
        for _ in run.steps():
            if display.step_done():
                yield InversionState(display.state(name), list(images))
            if stopped():
                break
        images.append((_small(run.pixels()), f"{name}: {_ending(run)}"))
        yield InversionState(display.state(name), list(images))
        if stopped():
            return
        del run, display  # their memory is free before the next run is built


def _ending(run: Run) -> str:
    from vitsplice.analysis.inversion import TERM
    from vitsplice.engine.values import last_loss

    taken, requested = len(run.history), run.settings.steps
    return f"loss {last_loss(run.history, TERM):.2g}, " + (
        f"{taken} steps" if run.finished else f"stopped after {taken} of {requested} steps"
    )


def _small(pixels: Tensor) -> Image:
    from vitsplice.images import to_pil

    image = to_pil(pixels)
    image.thumbnail((LONGER_SIDE, LONGER_SIDE))
    return image
