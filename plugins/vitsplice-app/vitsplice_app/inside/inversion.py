"""Inversions of the features of an image: plan from the values of the form, and computation; no layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vitsplice.errors import UserError
from vitsplice_app.backbones import backbone_info, shared_backbones
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


def inversion_plan(
    image: str | None,
    roles: Sequence[Role],
    backbone: str,
    layer: float | None,
    steps: float | None,
    size: float,
    seed: float | None,
) -> InversionPlan:
    """Return the plan of the inversions with the values of the form.

    Args:
        image: path of the image; None if there is none.
        roles: roles of the features to invert.
        backbone: name of the backbone of the features.
        layer: layer of the features, counted from 0 (the first) or from -1 (the last); None if the field is empty.
        steps: number of steps of each inversion; 0: the number in the preset that `plan_inversions` chooses for the
            feature; None if the field is empty.
        size: shorter side of the output in pixels.
        seed: seed of all random number generators; None if the field is empty.

    Raises:
        UserError: if a value is missing or has a fraction; see also `plan_inversions`.
        WeightsUnavailable: see `plan_inversions`.
    """
    from vitsplice.analysis.inversion import plan_inversions

    if not image:
        raise UserError(NO_IMAGE)
    if not roles:
        raise UserError("choose at least one feature to invert")
    info = backbone_info(backbone)
    return plan_inversions(
        image,
        [info.default_request(role).facet for role in roles],
        [whole_number("Layer", layer)],
        backbone=backbone,
        steps=whole_number("Steps", steps) or None,
        size=whole_number("Size (px)", size),
        seed=whole_number("Seed", seed),
        backbones=shared_backbones(),
    )


def invert(
    plan: InversionPlan, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[Progress, list[tuple[Image, str]]]]:
    """Invert features one after the other.

    Args:
        plan: features and settings of their inversions.
        stopped: called after each step and each inversion; True ends the current inversion, and no other begins.

    Yields:
        The state of the current inversion, and the images so far with captions (the input, then each inversion that has
        ended or was stopped): before the first inversion, after steps at the pace of `vitsplice_app.live.Display`, and
        after each inversion.
    """
    from vitsplice.analysis.inversion import inversion_runs
    from vitsplice.images import read

    images = [(_small(read(plan.image).pixels[0]), "image")]
    yield Progress("preparing the inversions"), list(images)
    for request, run in inversion_runs(plan, shared_backbones()):
        name, display = request.label(plan.layers), Display(run)
        for _ in run.steps():
            if display.step_done():
                yield display.state(name), list(images)
            if stopped():
                break
        images.append((_small(run.pixels()), f"{name}: {_ending(run)}"))
        yield display.state(name), list(images)
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
