"""The list of nodes for ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .correspond import Correspond
from .pca import PCA
from .transfer import Transfer


class VitspliceExtension(ComfyExtension):
    """The nodes of vitsplice."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the classes of the nodes."""
        return [Transfer, Correspond, PCA]
