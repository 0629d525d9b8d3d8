"""ComfyUI nodes of vitsplice: Transfer, Correspond and PCA."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension, io


async def comfy_entrypoint() -> ComfyExtension:
    """Return the extension with the nodes of vitsplice; ComfyUI calls this once, when it starts."""
    from comfy_api.latest import ComfyExtension

    from .correspond import CorrespondNode
    from .pca import PCANode
    from .transfer import TransferNode

    class VitspliceExtension(ComfyExtension):
        async def get_node_list(self) -> list[type[io.ComfyNode]]:
            return [TransferNode, CorrespondNode, PCANode]

    return VitspliceExtension()
