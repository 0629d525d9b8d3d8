"""Loss terms, generators, presets and commands, and the options that they accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitsplice.contracts.features import BackboneInfo, FeatureRequest, Features, ImageName, Role
from vitsplice.errors import ConfigError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from torch import Tensor, nn


@dataclass(frozen=True)
class Option:
    """An option of a loss term, generator or executor.

    Args:
        default: default value: true or false, a number, a text, a mapping, or a non-empty list of these. Other values
            must have the type of the default; a float may also be an integer. If the default is a list, other values
            are non-empty lists, whose elements have the type of its first element.
        help: description in one line.
        choices: allowed values, or allowed elements of a list; empty: all.
        minimum, maximum: inclusive range of a number, or of each number in a list; None: no limit.
    """

    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class TermContext:
    """Arguments for building a loss term.

    Args:
        backbone: information on the backbone that the term is evaluated on.
        facet, layer: facet and layer that the user selected; None selects the backbone's default for the role.
        options: validated values of all options of the term's spec.
    """

    backbone: BackboneInfo
    facet: str | None = None
    layer: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def request(self, role: Role) -> FeatureRequest:
        """Return the feature request for a role: the user's selection, completed by the backbone's default."""
        default = self.backbone.default_request(role)
        layer = default.layer if self.layer is None else self.layer
        return self.backbone.request(self.facet or default.facet, layer)

    def refuse_selection(self, loss: str) -> None:
        """Raise ConfigError if the user selected a facet or a layer, for a loss term ``loss`` that uses neither."""
        selected = {"facet": self.facet, "layer": self.layer}
        given = [f"{name} {value!r}" for name, value in selected.items() if value is not None]
        if given:
            raise ConfigError(f"the loss term '{loss}' takes no facet and no layer; remove {' and '.join(given)}")


@dataclass(frozen=True)
class LossTerm:
    """A built loss term.

    Args:
        requests: features that the term needs, of the output image as well as of the target image.
        function: pure function ``function(output, target)`` of the requested features of the output image and of the
            target image. It returns the unweighted loss, a differentiable scalar.
    """

    requests: tuple[FeatureRequest, ...]
    function: Callable[[Mapping[FeatureRequest, Features], Mapping[FeatureRequest, Features]], Tensor]


@dataclass(frozen=True)
class LossSpec:
    """A loss term that a preset can select by name.

    Args:
        name: name, unique among loss terms.
        build: function that builds the term for one backbone.
        summary: description in one line.
        input: input of the generator for this term, unless the settings select another one: ``structure`` is the
            image that the output starts from (see `GeneratorSpec`), ``appearance`` the appearance image.
        target: image that the output is compared with, unless the settings select another one.
        options: options that the term accepts.
    """

    name: str
    build: Callable[[TermContext], LossTerm]
    summary: str
    input: Role
    target: ImageName
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator that a preset can select by name.

    If the module has a method ``set_progress(fraction)``, that method is called before each step with the fraction of
    the run's steps that are done (in a run with stages, of the stage's steps), 0.0 at the first step. It is called with
    1.0 before the output image or a preview is computed.

    Args:
        name: name, unique among generators.
        build: function ``build(start, options)`` that returns an ``nn.Module``, which maps an image ``(1, 3, H, W)`` to
            an image of the same size in [0, 1]. ``start`` is the generator's input for the output image: the image
            that the output starts from, at the size of the stage and with the changes of earlier stages.
        summary: description in one line.
        options: options that the generator accepts. If ``init`` has the choice ``start``, all stages but the first get
            that value, so that they begin with the output of the stage before.
        canvas: whether the module holds the output image itself and ignores its input. Views, with their colour jitter
            and blur, are then taken of the output image, and terms whose input is the appearance image are refused.
    """

    name: str
    build: Callable[[Tensor, Mapping[str, Any]], nn.Module]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    canvas: bool = False


@dataclass(frozen=True)
class PresetSpec:
    """A preset: a YAML file of settings, whose comments may state the sources of values.

    Args:
        name: name, unique among presets.
        path: the YAML file, such as ``importlib.resources.files("my_package") / "mine.yaml"``.
        summary: description in one line.
        command: name of the command that the preset is for.
    """

    name: str
    path: Traversable
    summary: str
    command: str = "run"


@dataclass(frozen=True)
class CommandSpec:
    """A command of the command line.

    Args:
        name: name, unique among commands.
        command: function with annotations that typer reads, or a ``typer.Typer`` group of commands.
        summary: description in one line.
    """

    name: str
    command: Callable[..., Any]
    summary: str
