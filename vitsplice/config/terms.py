"""Settings of a loss term."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vitsplice.config.settings import MAX_STEPS, Name, Settings


class TermConfig(Settings):
    """A weighted loss term.

    A term with a weight above 0 is active at the steps of the run, counted from 0, with ``step >= start`` and
    ``step % every == 0``. A stage can exclude it (`StageConfig.terms`).

    Args:
        loss: name of the loss term.
        backbone: key in ``backbones`` of the backbone that the term uses; None: the run's first.
        weight: weight in the total loss, before it is multiplied by a strength (`RunConfig.structure_strength`).
        view: view that the generator gets as input: a random crop, or the entire image.
        target_view: view of the target image; None: the same as ``view``.
        input: image that the generator gets as input: ``structure``: in a run the image that the output starts from, in
            a training the structure image; ``appearance``: the appearance image; None: the default of the loss term.
        target: image that the output is compared with; None: the default of the loss term.
        start: first step at which the term may be active.
        every: interval in steps.
        facet, layer: features to compare; None: the backbone's default for structure or appearance.
        options: options of the loss term by name (`LossSpec.options`).
    """

    loss: Name
    backbone: Name | None = None
    weight: float = Field(ge=0, le=1e12)
    view: Literal["crop", "entire"] = "crop"
    target_view: Literal["crop", "entire"] | None = None
    input: Literal["structure", "appearance"] | None = None
    target: Literal["structure", "appearance", "start"] | None = None
    start: int = Field(default=0, ge=0, le=MAX_STEPS)
    every: int = Field(default=1, ge=1, le=MAX_STEPS)
    facet: Name | None = None
    layer: int | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def ever_active(self, steps: int) -> bool:
        """Return whether the term is active at any of the first ``steps`` steps."""
        first = -(-self.start // self.every) * self.every
        return self.weight > 0 and first < steps

    def active(self, step: int) -> bool:
        """Return whether the term is active at a step."""
        return self.weight > 0 and step >= self.start and step % self.every == 0
