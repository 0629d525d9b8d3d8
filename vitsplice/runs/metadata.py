"""What `run.json` records of a run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitsplice.runs.run import Run

PACKAGES = ("vitsplice", "torch", "torchvision", "timm", "kornia", "pillow", "numpy")


def versions() -> dict[str, str]:
    """Python and the packages whose version can change the bytes of an image."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def sizes(run: Run) -> dict[str, Any]:
    """The sizes in pixels at which a run works, stage by stage, and that of its output, as plain data."""
    working, output = ([{"height": h, "width": w} for h, w in of] for of in (run.working_sizes, [run.output_size]))
    return {"working": working, "output": output[0]}


def describe_sizes(sizes: Mapping[str, Any]) -> str:
    """The sizes of a run in words, width first."""
    *stages, output = (f"{one['width']}x{one['height']} px" for one in [*sizes["working"], sizes["output"]])
    return f"works at {', then '.join(stages)}; output {output}" if stages else f"output {output}"


def describe(run: Run) -> dict[str, Any]:
    """Versions, inputs, backbone, substitutions, timings (seconds) and losses, as plain data."""
    import torch

    from vitsplice import numerics

    last = run.history[-1] if run.history else None
    return {
        "finished": run.finished,
        "steps": {"asked": run.settings.steps, "taken": len(run.history), "resumed_at": run.resumed_at},
        "preset": run.settings.preset,
        "sizes": sizes(run),
        "seed": run.settings.seed,
        "device": run.settings.device,
        "precision": run.settings.precision,
        "threads": torch.get_num_threads(),
        "numerics": numerics.describe(),
        "versions": versions(),
        "inputs": {
            role: {
                "name": image.name,
                "sha256": image.sha256,
                "height": image.pixels.shape[-2],
                "width": image.pixels.shape[-1],
                "notes": list(image.notes),
            }
            for role, image in run.images.items()
        },
        "masks": {
            role: {"name": mask.name, "sha256": mask.sha256, "notes": list(mask.notes)}
            for role, mask in run.masks.items()
        },
        "backbone": asdict(run.backbone.info),
        "substitutions": [asdict(run.substitution)] if run.substitution else [],
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
        "last": {"step": last.index, "total": last.total, "losses": dict(last.losses)} if last else None,
    }
