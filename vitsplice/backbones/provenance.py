"""Which tensors of a weights file went into which tensors of a model, whatever a library did to them in between.

timm converts a checkpoint (renames, joins and resizes tensors), then loads what fits and leaves the rest as it was
initialised, in silence. A comparison of names cannot see through the conversion, and a comparison of values cannot
detect a bias that was left at 0. So the operations themselves are followed, in this thread only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from vitsplice.backbones.weights import UNUSED, check_finite, listed
from vitsplice.errors import WeightsRejected


class Provenance(TorchFunctionMode):
    """While it is entered, follows tensors of a file through torch's operations in this thread.

    Args:
        tensors: of the file, by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._file = tensors
        self._origins: Any = WeakIdKeyDictionary({tensor: frozenset([name]) for name, tensor in tensors.items()})
        self._copied: set[str] = set()
        self._loading = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute, and note the origins of what results."""
        result = func(*args, **(kwargs or {}))
        origins = frozenset[str]().union(*(self._origins.get(t, ()) for t in _tensors((args, kwargs))))
        self._loading = self._loading or bool(origins)
        if func is Tensor.copy_ and self._loading:  # so does a constant that the conversion fills in
            self._copied |= origins
            self._origins[args[0]] = origins
        elif origins:
            changed = args[:1] if func is Tensor.__setitem__ else ()
            for tensor in (*_tensors(result), *changed):
                self._origins[tensor] = self._origins.get(tensor, frozenset()) | origins
        return result

    def check(self, model: nn.Module, what: str, name: str) -> None:
        """Raise WeightsRejected unless every tensor of the model came from the file, whole and finite.

        Tensors of the file that the model has no use for (a classifier, a mask token) may be left over, but not those
        of more layers of a kind than it has.

        Args:
            model: loaded while this was entered.
            what: names the weights in the message.
            name: of the model.
        """
        missing = [
            key
            for key, tensor in model.state_dict(keep_vars=True).items()
            if tensor not in self._origins and not key.endswith(UNUSED)
        ]
        kinds = {_kind(key) for key in self._copied}
        further = [key for key in self._file if key not in self._copied and _kind(key) in kinds]
        problems = [
            listed("missing", missing),
            listed("of layers that it does not have", further),
            listed("of another shape", list(self._resized_kernels(model))),
            listed("not floating point", list(self._rounded(model))),
        ]
        if any(problems):
            raise WeightsRejected(f"{what} does not fit {name}: {'; '.join(filter(None, problems))}")
        check_finite(model.state_dict(), what)

    def _resized_kernels(self, model: nn.Module) -> Iterator[str]:
        """Convolutions whose kernel was resized to fit, as timm does with another patch size."""
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and len(origins := self._origins.get(module.weight, ())) == 1:
                key = next(iter(origins))
                if self._file[key].numel() != module.weight.numel():
                    yield f"{key} {tuple(self._file[key].shape)} for {tuple(module.weight.shape)}"

    def _rounded(self, model: nn.Module) -> Iterator[str]:
        """Tensors of integers in place of weights."""
        for parameter in model.parameters():
            yield from (key for key in self._origins.get(parameter, ()) if not self._file[key].is_floating_point())


def _kind(key: str) -> str:
    """The name of a tensor without the numbers of its layers."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "#", key)


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def loaded(
    create: Callable[[dict[str, Tensor]], nn.Module], tensors: Mapping[str, Tensor], what: str, name: str
) -> nn.Module:
    """A model that a library makes of a state dict, every tensor of which it has from there.

    Args:
        create: makes and loads the model; it may change the mapping it is given, not the tensors.
        tensors: by name.
        what: names the weights in the message.
        name: of the model.

    Raises:
        WeightsRejected: if tensors are missing, do not fit, are of layers that the model does not have, or not finite.
    """
    tensors = {key: tensor.detach() for key, tensor in tensors.items()}
    with torch.no_grad(), Provenance(tensors) as provenance:
        model = create(dict(tensors))
    provenance.check(model, what, name)
    return model
