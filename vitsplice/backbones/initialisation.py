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
"""Operations that initialise a parameter, or of which the functions that do so consist."""


class SkipInitialisation(TorchFunctionMode):
    """Context in which networks are created without random values for their parameters, which saves most of the time.

    The caller has to load every parameter. Buffers are initialised as usual.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, unless it initialises a parameter."""
        kwargs = kwargs or {}
        if func in _SKIPPED and isinstance(tensor := args[0] if args else kwargs["tensor"], nn.Parameter):
            return tensor
        return func(*args, **kwargs)
