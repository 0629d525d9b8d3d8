"""What a plugin sees: the shapes that pass between backbones, loss terms, generators and the engine.

Nothing here imports torch, so that plugins can be listed without it.

A picture is RGB float32 in [0, 1], shape ``(B, 3, H, W)``. Normalisation belongs to the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vitsplice.errors import ConfigError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import torch
    from torch import Tensor, nn

Role = Literal["structure", "appearance"]
"""What a backbone has a default request for."""

Image = Literal["structure", "appearance", "start"]
"""The pictures of a run: the structure image, the appearance image, and the one that the output starts from."""

GLOBAL_FACETS = frozenset({"cls", "pooled"})
GIVEN_FACETS = frozenset({"picture", "match", "mask"})
"""What a loss term may ask for besides the backbone's facets, at the size at which the backbone looks:

``picture``: the pixels, ``(B, H * W, 3)``;
``match``: descriptors of the *image* at that place (never of what the generator made of it), by which places of the
structure and of the appearance image are told alike (`vitsplice.matching`), ``(B, N, D)``;
``mask``: what of the appearance image takes part, ``(B, H * W, 1)`` in [0, 1]; ones without an appearance mask, and for
    the other images. In a run with an appearance mask the appearance image comes with it, requested or not; outside of
    it the image has the mean colour of the inside.
"""


@dataclass(frozen=True)
class FeatureRequest:
    """One kind of feature of one layer.

    Args:
        facet: ``cls``, ``key``, ``query``, ``value``, ``token``, ``pooled`` for transformers;
            ``map``, ``pooled`` for CNNs.
        layer: counts from the end like Python; -1 is the last. `BackboneInfo.request` also takes block numbers from 0.
    """

    facet: str
    layer: int = -1

    def __str__(self) -> str:
        return self.facet if self.facet in GIVEN_FACETS else f"{self.facet}[{self.layer}]"


PICTURE, MATCH, MASK = FeatureRequest("picture"), FeatureRequest("match"), FeatureRequest("mask")


@dataclass(frozen=True)
class Features:
    """Features of a batch of pictures, always float32.

    Args:
        values: ``(B, N, D)`` for a local facet, ``(B, D)`` for a global one.
        grid: ``(h, w)`` of a local facet; ``N == prefix + h * w``, row by row.
        prefix: how many tokens without a place ([CLS], registers) stand before the grid.
    """

    values: Tensor
    grid: tuple[int, int] | None = None
    prefix: int = 0

    def __repr__(self) -> str:
        return f"Features(values={tuple(self.values.shape)}, grid={self.grid}, prefix={self.prefix})"

    @property
    def patches(self) -> Tensor:
        """The values that have a place on the grid, ``(B, h * w, D)``."""
        return self.values[:, self.prefix :]

    @property
    def maps(self) -> Tensor:
        """The values of a local facet as maps, ``(B, D, h, w)``."""
        places = self.patches.transpose(1, 2)
        return places.reshape(*places.shape[:2], *(self.grid or (-1, 1)))

    def __getitem__(self, rows: slice) -> Features:
        """The same features of some of the pictures."""
        return Features(self.values[rows], self.grid, self.prefix)


def layer_label(layer: int, layers: int) -> str:
    """Both numbers of one of so many layers, from 0 and from the end, such as ``11 (-1)``."""
    return f"{layer % layers} ({layer % layers - layers})"


def layer_file_label(layer: int, layers: int) -> str:
    """One of so many layers in names of files, which sort by depth, such as ``layer_03`` of twelve."""
    return f"layer_{layer % layers:0{len(str(layers - 1))}d}"


@dataclass(frozen=True)
class BackboneInfo:
    """What a loaded backbone says of itself.

    Args:
        name: the name it was asked for by.
        model: the architecture behind it.
        facets: the facets it can give.
        layers: how many layers can be asked for.
        structure, appearance: the default request for each role.
        stride: pixels between two neighbours on the grid of the last layer (a ViT's patch size).
        multiple: height and width must be multiples of this.
        smallest: neither side may be smaller than this.
        fixed: the only size ``(H, W)`` it takes, or None.
        mean, std: the normalisation it applies to its input.
        cls_normalised: whether [CLS] and tokens are taken after the final norm; None without [CLS].
        parameters: how many.
        licence, source: of the weights.
        sha256: of the weights, over names, shapes and bytes; "" if they are random.
    """

    name: str
    model: str
    facets: tuple[str, ...]
    layers: int
    structure: FeatureRequest
    appearance: FeatureRequest
    stride: int
    multiple: int
    smallest: int
    fixed: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cls_normalised: bool | None
    parameters: int
    licence: str
    source: str
    sha256: str

    def role(self, role: Role) -> FeatureRequest:
        """The request that stands for a role."""
        return self.structure if role == "structure" else self.appearance

    def request(self, facet: str, layer: int = -1) -> FeatureRequest:
        """The request for a facet of a layer, which may count from 0 (the first) or from -1 (the last).

        Whatever a user, a setting or a file says goes through here, so that a layer has one number inside: below 0.

        Raises:
            ConfigError: naming the facets and layers there are, if it has no such one.
        """
        if facet not in self.facets:
            raise ConfigError(f"backbone '{self.name}' has no facet '{facet}'; it has {', '.join(self.facets)}")
        if not -self.layers <= layer < self.layers:
            raise ConfigError(
                f"backbone '{self.name}' has no layer {layer}; it has 0 to {self.layers - 1}, "
                f"which are also -{self.layers} to -1"
            )
        return FeatureRequest(facet, layer if layer < 0 else layer - self.layers)

    def block(self, layer: int) -> int:
        """The number of a layer from 0, the first."""
        return layer % self.layers

    def layer_label(self, layer: int) -> str:
        """Both numbers of a layer, such as ``11 (-1)``."""
        return layer_label(layer, self.layers)

    def label(self, request: FeatureRequest) -> str:
        """A request with both numbers of its layer, such as ``key at layer 11 (-1)``."""
        if request.facet in GIVEN_FACETS:
            return request.facet
        return f"{request.facet} at layer {self.layer_label(request.layer)}"

    def file_label(self, layer: int) -> str:
        """A layer in names of files, which sort by depth: see `layer_file_label`."""
        return layer_file_label(layer, self.layers)

    @property
    def every_layer(self) -> range:
        """All layers, counted from the end, the first first."""
        return range(-self.layers, 0)


class Backbone(Protocol):
    """A frozen network: in eval mode, deterministic, differentiable in its input."""

    @property
    def info(self) -> BackboneInfo:
        """What it is and what it takes."""

    def __call__(self, pictures: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Features of ``(B, 3, H, W)`` pictures, all from one forward pass.

        Raises:
            UserError: for a facet or layer that it has not, or a size that it cannot take.
        """

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """The same backbone on a device, its weights cast once."""


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

    ``function(output, target)`` gets, for the generated and for the target picture, the features
    of each request, and returns an unweighted scalar.
    """

    requests: tuple[FeatureRequest, ...]
    function: Callable[[Mapping[FeatureRequest, Features], Mapping[FeatureRequest, Features]], Tensor]


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone that can be asked for by name.

    Args:
        name: lower case, unique among backbones.
        build: ``build(weights)`` loads it in float32 on the CPU. ``weights`` is a file the user named, or None.
        summary: one line.
        licence: of the weights.
        source: where the weights come from.
        at_hand: says, quickly and without a network, where on this machine the weights are, or "" if they are not.
        stride: pixels between two places of the last layer (a ViT's patch size); 0 where it is not known beforehand.
        side: of the square pictures that it was trained on, in pixels; 0 likewise.
        parameters: how many; 0 likewise.
    """

    name: str
    build: Callable[[Path | None], Backbone]
    summary: str
    licence: str
    source: str
    at_hand: Callable[[], str] | None = None
    stride: int = 0
    side: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class LossSpec:
    """A loss term that presets may use.

    Args:
        name: unique among loss terms.
        build: makes the term for one backbone.
        summary: one line.
        input: which picture the generator is fed.
        target: which picture the output is compared with.
        options: the settings it takes.
    """

    name: str
    build: Callable[[TermContext], LossTerm]
    summary: str
    input: Role
    target: Image
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator that presets may use.

    Args:
        name: unique among generators.
        build: ``build(start, options)`` makes an ``nn.Module`` from picture to picture of the
            same size; ``start`` is the picture that the output starts from, ``(1, 3, H, W)``: the structure
            image, or the warm start. If the module has a method ``at(part)``, it is called before each step with
            how much of the run's steps is done, from 0, and with 1.0 before the output is taken.
        summary: one line.
        options: the settings it takes.
        canvas: it holds one picture, the output itself, and ignores what it is fed: views are cut
            out of its output, and only the structure image can be its input.
    """

    name: str
    build: Callable[[Tensor, Mapping[str, Any]], nn.Module]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    canvas: bool = False


@dataclass(frozen=True)
class Case:
    """One pair and what a method made of it; all pictures ``(1, 3, H, W)`` in [0, 1] on the metric's device.

    Args:
        id: of the pair.
        structure, appearance: the images of the pair, each at its own size.
        output: the method's picture, at its own size.
        structure_mask, appearance_mask: ``(1, 1, H, W)``, each as large as its image, where the pair has them.
    """

    id: str
    structure: Tensor
    appearance: Tensor
    output: Tensor
    structure_mask: Tensor | None = None
    appearance_mask: Tensor | None = None


@dataclass(frozen=True)
class MetricContext:
    """What a metric knows when it is built.

    Args:
        load: a backbone by name, on the device, in float32; each is loaded once, and remembers what it saw of the
            pictures of the pair at hand. It raises what `Catalogue.backbone` and ``build`` raise.
        backbone: the name of the backbone that the user chose, for metrics that can take any.
        device: that the pictures are on.
    """

    load: Callable[[str], Backbone]
    backbone: str
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Metric:
    """A built metric.

    Args:
        value: of a `Case`, or, for a metric over sets, of an iterable of them. NaN says that there is no such figure
            (a pair without a mask). It is called without gradients.
        networks: the backbones that it looks with.
        facts: what the figure depends on, such as facet, layer and size; recorded beside it. Plain data.
        akin: loss terms that optimise the same thing; the figure flatters a run that had one.
    """

    value: Callable[[Any], float]
    networks: tuple[BackboneInfo, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    akin: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSpec:
    """A figure by which `vitsplice evaluate` compares methods.

    Args:
        name: unique among metrics.
        build: makes the metric; where it raises UnknownName or WeightsUnavailable, the figure is left out.
        summary: one line.
        better: which end of it is.
        over: whether it has a value for each pair, or one for a set of them.
        against: what the output is compared with.
        most: pairs that a metric over sets is given; those whose ids have the smallest hashes.
    """

    name: str
    build: Callable[[MetricContext], Metric]
    summary: str
    better: Literal["lower", "higher"] = "lower"
    over: Literal["pair", "set"] = "pair"
    against: Literal["structure", "appearance", "set"] = "structure"
    most: int = 1000


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


@dataclass(frozen=True)
class Job:
    """One run of a batch, as plain data that can be sent to another process or machine.

    Args:
        id: unique in its batch.
        folder: of the run, absolute; every machine that does jobs sees it under this path.
        pictures: absolute paths by role.
        settings: of the run, as JSON.
        threads: of the CPU that the run uses; another number gives other bytes.
        stop: an absolute path. When a file is there, running jobs keep where they stand and end.
    """

    id: str
    folder: str
    pictures: Mapping[str, str]
    settings: str
    threads: int
    stop: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        id: of the job.
        state: ``done``; ``stopped``: kept, to go on another time; ``failed``: may go better another time;
            ``refused``: cannot go better (a picture that is none).
        why: where it is not done, in a few words.
        seconds: that it took, from the first thing to the last.
        told: what is worth knowing of the run, ready for JSON.
    """

    id: str
    state: Literal["done", "stopped", "failed", "refused"]
    why: str = ""
    seconds: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Something that does jobs, several at once, in processes that may die."""

    @property
    def threads(self) -> int:
        """How many threads of the CPU each job is to use."""

    def run(self, work: Callable[[Job], Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do every job once, in any order, and give each outcome as it comes.

        Jobs are drawn as there is room for them, never all at once. A job whose process died has the state
        ``failed``. Closing the iterator ends what is still running.

        Args:
            work: a function of a module, so that any process can import it. It keeps what is costly to load in its
                process, so that a process should do many jobs. It does not raise.
            jobs: drawn in the caller's thread.
        """


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor that a batch may ask for.

    Args:
        name: unique among executors.
        build: ``build(workers, threads, options)`` makes it. ``workers`` is how many jobs run at once at most,
            ``threads`` how many threads each has; 0 leaves it to the executor.
        summary: one line.
        options: the settings it takes besides.
    """

    name: str
    build: Callable[[int, int, Mapping[str, Any]], Executor]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
