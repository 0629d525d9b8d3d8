"""Creation of networks without initial values for parameters that are loaded afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SKIPPED = {
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.kaiming_uniform_,
    Tensor.uniform_,
    Tensor.normal_,
    Tensor.erfinv_,
    Tensor.mul_,
    Tensor.add_,
    Tensor.clamp_,
}
"""Random initialisers, and the operations by which others, such as timm's ``trunc_normal_``, fill a parameter."""


class SkipInitialisation(TorchFunctionMode):
    """Context in which networks are created without random initial values, whose generation takes most of the time.

    The caller has to load every parameter, in the context or after it. Buffers are initialised as usual. From the first
    copy into a parameter on, nothing is skipped, as operations may then change loaded values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loading_began = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function; skip one of `_SKIPPED` of a parameter if no parameter has been loaded yet."""
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")
        if isinstance(target, nn.Parameter):
            self._loading_began = self._loading_began or func is Tensor.copy_
            if func in _SKIPPED and not self._loading_began:
                return target
        return func(*args, **kwargs)
