"""Tracing of tensors from a weights file into a model, through a library's conversion.

timm converts a checkpoint (renames, concatenates and resizes tensors), loads the tensors whose names the model has, and
silently leaves all other tensors of the model as initialised. Names cannot be compared after a conversion, and values
do not reveal a bias that was left at 0. So the operations themselves are traced, in the current thread only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from vitsplice.backbones.weights import OPTIONAL, check_finite, check_fit, counted


class Provenance(TorchFunctionMode):
    """Context that traces the tensors of a file through torch's operations in the current thread.

    Args:
        tensors: tensors of the file by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._file_tensors = tensors
        self._origins: Any = WeakIdKeyDictionary({tensor: frozenset([name]) for name, tensor in tensors.items()})
        self._copied: set[str] = set()
        self._loading = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and record the origins of its results."""
        result = func(*args, **(kwargs or {}))
        # the other argument of __deepcopy__, its memo, holds all tensors that were copied before
        sources = args[:1] if func is Tensor.__deepcopy__ else (args, kwargs)
        origins = frozenset[str]().union(*(self._origins.get(t, ()) for t in _tensors(sources)))
        self._loading = self._loading or bool(origins)
        if func is Tensor.copy_ and self._loading:
            # origins may be empty: a constant that the conversion added counts as loaded too
            self._copied |= origins
            self._origins[args[0]] = origins
        elif origins:
            changed = args[:1] if func is Tensor.__setitem__ else ()
            for tensor in (*_tensors(result), *changed):
                self._origins[tensor] = self._origins.get(tensor, frozenset()) | origins
        return result

    def check(self, model: nn.Module, description: str, name: str) -> None:
        """Raise WeightsRejected unless the tensors of the model are from the file or its conversion, and finite.

        Only ``num_batches_tracked`` may be missing. Parameters must be floating point in the file, and kernels of
        convolutions must have as many values as in the file. The file may have tensors that the model does not use (a
        classifier, a mask token), but none whose name differs only in layer numbers from the name of a used tensor,
        such as those of the last blocks of a deeper network.

        Args:
            model: model that was loaded in this context.
            description: names the weights in the message, such as "file w.pth".
            name: name of the model.
        """
        missing = [
            key
            for key, tensor in model.state_dict(keep_vars=True).items()
            if tensor not in self._origins and not key.endswith(OPTIONAL)
        ]
        kinds = {_kind(key) for key in self._copied}
        unused_layers = [key for key in self._file_tensors if key not in self._copied and _kind(key) in kinds]
        problems = [
            counted("missing", missing),
            counted("of layers that the model does not have", unused_layers),
            counted("of another shape", list(self._resized_kernels(model))),
            counted("not floating point", list(self._integers(model))),
        ]
        check_fit(description, name, problems)
        check_finite(model.state_dict(), description)

    def _resized_kernels(self, model: nn.Module) -> Iterator[str]:
        """Describe resized kernels of convolutions; timm resizes those of patch embeddings to another patch size."""
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and len(origins := self._origins.get(module.weight, ())) == 1:
                key = next(iter(origins))
                tensor = self._file_tensors[key]
                if tensor.numel() != module.weight.numel():
                    yield f"{key} {tuple(tensor.shape)} instead of {tuple(module.weight.shape)}"

    def _integers(self, model: nn.Module) -> Iterator[str]:
        """Yield the names, in the file, of integer tensors that were loaded into parameters."""
        for parameter in model.parameters():
            origins = self._origins.get(parameter, ())
            yield from (key for key in origins if not self._file_tensors[key].is_floating_point())


def _kind(key: str) -> str:
    """Return the name of a tensor with layer numbers replaced by ``#``."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "#", key)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Find all tensors in nested arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def load_traced(
    create: Callable[[dict[str, Tensor]], nn.Module], tensors: Mapping[str, Tensor], description: str, name: str
) -> nn.Module:
    """Create a model from a state dict, and check that the model's tensors were loaded (`Provenance.check`).

    Args:
        create: creates and loads the model; it may change the mapping, but not the tensors.
        tensors: tensors by name.
        description: names the weights in the message, such as "file w.pth".
        name: name of the model.

    Raises:
        WeightsRejected: if tensors are missing, do not fit, belong to layers that the model does not have, are not
            floating point, or are not finite.
    """
    tensors = {key: tensor.detach() for key, tensor in tensors.items()}
    with torch.no_grad(), Provenance(tensors) as provenance:
        model = create(dict(tensors))
    provenance.check(model, description, name)
    return model
