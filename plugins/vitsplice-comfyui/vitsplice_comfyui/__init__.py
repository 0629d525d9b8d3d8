"""ComfyUI nodes of vitsplice: Transfer, Correspond and PCA."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import VitspliceExtension


async def comfy_entrypoint() -> VitspliceExtension:
    """Return the extension; ComfyUI calls this once, when it starts."""
    from .extension import VitspliceExtension

    return VitspliceExtension()
