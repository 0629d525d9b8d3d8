"""Loss terms, generators, presets and commands, with the options that they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitsplice.contracts.features import BackboneInfo, FeatureRequest, Features, ImageName, Role

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from torch import Tensor, nn


@dataclass(frozen=True)
class Option:
    """A setting that a loss term, a generator or an executor takes: its default, and what is allowed.

    A value has the default's type. ``choices``, ``minimum`` and ``maximum`` narrow it.
    """

    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class TermContext:
    """What a loss term knows when it is built.

    Args:
        backbone: facts of the backbone that it will be evaluated on.
        facet, layer: the user's choice in place of the role's default, or None.
        options: every option of the term's spec, checked and complete.
    """

    backbone: BackboneInfo
    facet: str | None = None
    layer: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def request(self, role: Role) -> FeatureRequest:
        """The request for a role, as this backbone and the user's choice have it."""
        default = self.backbone.role(role)
        layer = default.layer if self.layer is None else self.layer
        return self.backbone.request(self.facet or default.facet, layer)


@dataclass(frozen=True)
class LossTerm:
    """A built loss term: the requests it makes, and a pure function of what they bring.

    ``function(output, target)`` gets, for the generated and for the target image, the features
    of each request, and returns an unweighted scalar.
    """

    requests: tuple[FeatureRequest, ...]
    function: Callable[[Mapping[FeatureRequest, Features], Mapping[FeatureRequest, Features]], Tensor]


@dataclass(frozen=True)
class LossSpec:
    """A loss term that presets may use.

    Args:
        name: unique among loss terms.
        build: makes the term for one backbone.
        summary: one line.
        input: which image the generator is fed.
        target: which image the output is compared with.
        options: the settings it takes.
    """

    name: str
    build: Callable[[TermContext], LossTerm]
    summary: str
    input: Role
    target: ImageName
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator that presets may use.

    Args:
        name: unique among generators.
        build: ``build(start, options)`` makes an ``nn.Module`` from image to image of the
            same size; ``start`` is the image that the output starts from, ``(1, 3, H, W)``: the structure
            image, or the warm start. If the module has a method ``at(part)``, it is called before each step with
            how much of the run's steps is done, from 0, and with 1.0 before the output is taken.
        summary: one line.
        options: the settings it takes.
        canvas: it holds one image, the output itself, and ignores what it is fed: views are cut
            out of its output, and only the structure image can be its input.
    """

    name: str
    build: Callable[[Tensor, Mapping[str, Any]], nn.Module]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    canvas: bool = False


@dataclass(frozen=True)
class PresetSpec:
    """A named YAML file of settings, each value with its source in a comment."""

    name: str
    path: Traversable
    summary: str


@dataclass(frozen=True)
class CommandSpec:
    """A command of ``vitsplice``: a function that typer can read, or a ``typer.Typer`` group."""

    name: str
    command: Callable[..., Any]
    summary: str
