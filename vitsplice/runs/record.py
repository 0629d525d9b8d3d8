"""The parts of ``run.json`` that do not depend on a run in progress."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

PACKAGES = ("vitsplice", "torch", "torchvision", "timm", "kornia", "pillow", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change the bytes of an output."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def describe_sizes(sizes: Mapping[str, Any]) -> str:
    """The working sizes and the output size of a run as text, width first."""
    *stages, output = (f"{size['width']}x{size['height']} px" for size in [*sizes["working"], sizes["output"]])
    return f"works at {', then '.join(stages)}; output {output}" if stages else f"output {output}"


def is_inversion(record: Mapping[str, Any]) -> bool:
    """Whether structure image and appearance image of a run are the same image."""
    return len({record["inputs"][role]["sha256"] for role in ("structure", "appearance")}) == 1


def image_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Names of the images in reports, by role: "image" for both in an inversion."""
    return {role: "image" if is_inversion(record) else f"{role} image" for role in ("structure", "appearance")}
