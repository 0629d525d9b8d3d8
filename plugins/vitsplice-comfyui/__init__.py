"""Entry point for ComfyUI when this folder is in ``custom_nodes``."""

from .vitsplice_comfyui import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
