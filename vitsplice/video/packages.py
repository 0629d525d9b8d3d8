"""The optional packages of videos: PyAV decodes and encodes, OpenCV computes optical flow."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from vitsplice.errors import UserError


def pyav() -> Any:
    """Import PyAV. Raises UserError if it is not installed."""
    return _imported("av", "PyAV")


def opencv() -> Any:
    """Import OpenCV. Raises UserError if it is not installed."""
    return _imported("cv2", "OpenCV")


def _imported(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"videos require the package {package}: pip install 'vitsplice[video]'") from error
