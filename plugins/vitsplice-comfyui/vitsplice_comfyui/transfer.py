"""The node Transfer: `vitsplice run`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from comfy import model_management
from comfy_api.latest import io
from torch import Tensor

from vitsplice import Run, RunConfig, settings_for
from vitsplice.errors import OutOfMemory, UserError
from vitsplice.plugins import catalogue
from vitsplice.runs.run_inputs import RunInputs

from .backbones import LOADED, backbone_input, device, none_if_default, note
from .images import Array, batch_size, item_of, mask_batch, mask_of, to_images
from .progress import NodeProgress

Images = tuple[Array, Array]
"""Structure and appearance image."""

Masks = tuple[Array | None, Array | None]
"""Masks of the structure and of the appearance image."""

PREVIEWS = 20
"""Maximum number of previews of each run."""

MAX_SEED = 2**53 - 1
"""``Number.MAX_SAFE_INTEGER`` of JavaScript; the browser would round larger seeds."""

OVERRIDES = (
    "Settings, one a line, such as optimiser.lr=0.01. The inputs backbone, steps, size and strengths change a "
    "setting only if they are not at their defaults; a line that changes the same setting is then an error. A line "
    "seed=... replaces the seed of the node, and device=... the device of ComfyUI."
)
"""Tooltip of the input ``overrides``."""


class TransferNode(io.ComfyNode):
    """Transfer the appearance of one image to the structure of another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return inputs and outputs."""
        presets = [spec.name for spec in catalogue().presets.values() if spec.command == "run"]
        strength = {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.1}
        return io.Schema(
            node_id="VitspliceTransfer",
            display_name="Transfer appearance (vitsplice)",
            category="vitsplice",
            description="The structure of one image with the appearance of another.",
            inputs=[
                io.Image.Input("structure", tooltip="Image whose structure the output has."),
                io.Image.Input("appearance", tooltip="Image whose appearance the output has."),
                io.Combo.Input("preset", options=presets, default="quick"),
                backbone_input(),
                io.Int.Input("steps", default=0, min=0, max=1_000_000, tooltip="0: as many as the preset has."),
                io.Int.Input("size", default=0, min=0, max=16384, tooltip="Shorter side in pixels; 0: the preset's."),
                io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True),
                io.Float.Input("structure_strength", **strength),
                io.Float.Input("appearance_strength", **strength),
                io.String.Input("overrides", default="", multiline=True, tooltip=OVERRIDES),
                io.Mask.Input(
                    "structure_mask",
                    optional=True,
                    tooltip="The output differs from the structure image only where this mask is white, and at the "
                    "edge of the white region, which is blurred.",
                ),
                io.Mask.Input(
                    "appearance_mask",
                    optional=True,
                    tooltip="Of the appearance image, only the region where this mask is white is used.",
                ),
            ],
            outputs=[io.Image.Output("output", display_name="output")],
        )

    @classmethod
    def execute(
        cls,
        structure: Tensor,
        appearance: Tensor,
        preset: str,
        backbone: str,
        steps: int,
        size: int,
        seed: int,
        structure_strength: float,
        appearance_strength: float,
        overrides: str,
        structure_mask: Tensor | None = None,
        appearance_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Run each pair of a structure image and an appearance image of the batches."""
        lines = [*filter(None, map(str.strip, overrides.splitlines()))]
        keys = {line.partition("=")[0].strip() for line in lines}
        settings = settings_for(
            preset,
            backbone=none_if_default(backbone),
            steps=steps or None,
            size=size or None,
            seed=None if "seed" in keys else seed,
            device=None if "device" in keys else device(),
            structure_strength=None if structure_strength == 1 else structure_strength,
            appearance_strength=None if appearance_strength == 1 else appearance_strength,
            overrides=["metrics=none", *lines],
        )
        structure_mask, appearance_mask = mask_batch(structure_mask), mask_batch(appearance_mask)
        count = batch_size(
            structure=structure,
            appearance=appearance,
            structure_mask=structure_mask,
            appearance_mask=appearance_mask,
        )

        def pair(index: int) -> tuple[Images, Masks]:
            images = item_of(structure, index), item_of(appearance, index)
            return images, (mask_of(structure_mask, index), mask_of(appearance_mask, index))

        if count > 1:  # a single pair is checked by its run
            for index in range(count):
                _check(*pair(index), f"image {index + 1} of {count}")
        progress = NodeProgress(count)
        return io.NodeOutput(to_images([_output(settings, *pair(index), progress, index) for index in range(count)]))


def _check(images: Images, masks: Masks, name: str) -> None:
    """Raise a UserError that begins with the name of a pair of images if a run cannot use these images or masks."""
    try:
        RunInputs.read(*images, structure_mask=masks[0], appearance_mask=masks[1])
    except UserError as error:
        raise type(error)(f"{name}: ", *error.parts) from error


def _prepared(settings: RunConfig, images: Images, masks: Masks) -> Run:
    """Prepare a run; if memory is too small, try once more after ComfyUI has unloaded its models."""
    prepare = partial(Run, *images, settings, structure_mask=masks[0], appearance_mask=masks[1], backbones=LOADED)
    with suppress(OutOfMemory):
        return prepare()
    # not in an ``except`` block, where the error would still hold the tensors of the first attempt
    model_management.unload_all_models()
    return prepare()


def _output(settings: RunConfig, images: Images, masks: Masks, progress: NodeProgress, index: int) -> Tensor:
    """Run a pair of images and return the output ``(3, H, W)``; nothing else but cached backbones stays in memory."""
    run = _prepared(settings, images, masks)
    if not index:
        note(*run.substitutions.values())
    parts = 1 + run.settings.steps
    interval = max(1, -(-run.settings.steps // PREVIEWS))
    progress.report(index, 1, parts)
    for taken, _ in enumerate(run.steps(), 1):
        progress.report(index, 1 + taken, parts, None if taken % interval else run.pixels())
    return run.pixels()
