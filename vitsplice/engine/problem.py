"""From settings and two images to a problem that can be optimised: names are looked up, parts are built."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.backbones.weights import sha256_of
from vitsplice.config import BackboneConfig, RunConfig, ViewConfig
from vitsplice.contracts import Backbone, BackboneInfo, GeneratorSpec, Role, TermContext
from vitsplice.engine.features import Look
from vitsplice.engine.loop import Problem, WeightedTerm
from vitsplice.engine.targets import RunImages
from vitsplice.errors import Argument, ConfigError, Part, Setting, UnknownName, WeightsRejected, WeightsUnavailable
from vitsplice.numerics import numerics
from vitsplice.options import complete
from vitsplice.plugins import Catalogue
from vitsplice.rng import private_rng
from vitsplice.text import printable

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Substitution:
    """A backbone that stands in for the one a preset names."""

    wanted: str
    used: str
    why: str

    def __str__(self) -> str:
        return f"backbone '{self.wanted}' is unavailable, so '{self.used}' is used instead. {self.why}"


def pinned(settings: RunConfig) -> RunConfig:
    """The same, with the SHA-256 of the weights file that they name, if it has none. Raises WeightsRejected."""
    backbone = settings.backbone
    if backbone.weights is None or backbone.sha256:
        return settings
    backbone = backbone.model_copy(update={"sha256": sha256_of(backbone.weights)})
    return settings.model_copy(update={"backbone": backbone})


def _check_file(config: BackboneConfig) -> None:
    """Raise WeightsRejected unless the weights file that is named is there and is the one that is meant."""
    if config.weights is None or not config.sha256:
        return
    if (found := sha256_of(config.weights)) != config.sha256:
        raise WeightsRejected(
            f"weights file '{printable(str(config.weights))}' is not the one that these settings were made with:\n"
            f"its SHA-256 is {found},\nwanted is    {config.sha256}.\nPut that file back, or give another with ",
            Setting("backbone.weights", "FILE"),
        )


def _check_network(config: BackboneConfig, info: BackboneInfo) -> None:
    """Raise WeightsRejected if the settings are of a loaded backbone with other weights."""
    if config.network_sha256 and info.sha256 != config.network_sha256:
        raise WeightsRejected(
            f"these settings are of a backbone '{config.name}' that was loaded and given, with other weights than the "
            f"one of that name here:\nSHA-256 {config.network_sha256}, here {info.sha256 or 'none'}.\n"
            "Load that one, and give it again as ",
            Argument("backbone"),
        )


@numerics()
def load_backbone(config: BackboneConfig, catalogue: Catalogue) -> tuple[Backbone, Substitution | None]:
    """Load a backbone, or the first of its fallbacks whose weights can be had; nothing stands in for a named file.

    Raises:
        UnknownName: if no such backbone is registered.
        WeightsUnavailable: if neither its weights nor those of a fallback can be had.
        WeightsRejected: if the weights file that is named is gone, another one than is meant, or not one for it.
    """
    _check_file(config)
    try:
        backbone = catalogue.backbone(config.name).build(config.weights)
        _check_network(config, backbone.info)
        return backbone, None
    except (UnknownName, WeightsUnavailable) as error:
        if not config.fallback or config.weights is not None:
            raise
        missing = error
    why: list[Part] = []
    for name in config.fallback:
        try:
            return catalogue.backbone(name).build(None), Substitution(config.name, name, str(missing).splitlines()[0])
        except (UnknownName, WeightsUnavailable, WeightsRejected) as error:
            why += [f"\nIts fallback '{name}' is unavailable too: ", *error.parts]
    raise WeightsUnavailable(*missing.parts, *why) from missing


def check_parts(config: RunConfig, catalogue: Catalogue) -> None:
    """Look up the generator and every loss term, with their options, whether they will be used or not.

    Raises:
        UnknownName, ConfigError: naming the part or the key.
    """
    complete(catalogue.generator(config.generator.name), config.generator.options, "generator.options")
    for name, term in config.terms.items():
        complete(catalogue.loss(term.loss), term.options, f"terms.{name}.options")


def weighted_terms(config: RunConfig, backbone: Backbone, catalogue: Catalogue) -> tuple[WeightedTerm, ...]:
    """Build the terms of a run whose weight is not 0.

    Raises:
        ConfigError: naming the key, if a facet, layer or option does not fit.
    """
    terms = []
    for name, term in config.terms.items():
        spec = catalogue.loss(term.loss)
        options = complete(spec, term.options, f"terms.{name}.options")
        if term.weight == 0:
            continue
        try:
            built = spec.build(TermContext(backbone.info, term.facet, term.layer, options))
        except ConfigError as error:
            raise ConfigError(f"terms.{name}: ", *error.parts) from error
        input_ = (term.input or spec.input, term.view)
        target = (term.target or spec.target, term.target_view or term.view)
        strength = config.appearance_strength if target[0] == "appearance" else config.structure_strength
        terms.append(WeightedTerm(name, built, term, input_, target, term.weight * strength))
    if not any(term.config.ever_active(config.steps) for term in terms):
        raise ConfigError(f"terms: none has a weight and a turn within {config.steps} steps; nothing to optimise")
    return tuple(terms)


def assemble(
    config: RunConfig,
    images: RunImages,
    backbone: Backbone,
    catalogue: Catalogue,
    look: Look | None = None,
    fed: Tensor | None = None,
) -> Problem:
    """Everything that an optimisation needs, on the images' device.

    Args:
        config: the settings; ``precision`` must not be ``auto``.
        images: on the device of the run.
        backbone: loaded, at the precision of the run, on the device.
        catalogue: where loss terms and generators are found.
        look: at which size the backbone looks; None is as the settings' ``resize`` has it.
        fed: what the generator begins with, or is fed; None is the start.
    """
    spec = catalogue.generator(config.generator.name)
    options = complete(spec, config.generator.options, "generator.options")
    terms = weighted_terms(config, backbone, catalogue)
    _check_canvas(spec, terms)
    _check_effect(config, terms, images)
    _check_blur("structure", config.views.structure, images.pixels["structure"])
    _check_blur("appearance", config.views.appearance, images.pixels["appearance"])
    fed = images.pixels["start"] if fed is None else fed
    with private_rng(config.seed):
        generator = spec.build(fed.cpu(), options)
    return Problem(
        config=config,
        images=images,
        backbone=backbone,
        look=look or Resize(config.resize.size, config.resize.max_size, config.resize.interpolation),
        generator=generator.to(fed.device).train(),
        canvas=spec.canvas,
        terms=terms,
        fed=fed,
    )


def _check_blur(role: Role, view: ViewConfig, image: Tensor) -> None:
    smallest = round(view.crop[0] * min(image.shape[-2:]))
    if view.blur.probability > 0 and view.blur.kernel // 2 >= smallest:
        raise ConfigError(
            f"views.{role}.blur.kernel: {view.blur.kernel} is too large for views of {smallest} px; "
            f"the most is {2 * smallest - 1}"
        )


def _check_effect(config: RunConfig, terms: tuple[WeightedTerm, ...], images: RunImages) -> None:
    """Refuse a strength or a mask that no term goes by; a warm start goes by all of them."""
    if config.start == "match":
        return
    targets = {term.target[0] for term in terms}
    given = {
        "appearance_mask": "appearance" in images.masks and "appearance" not in targets,
        "appearance_strength": config.appearance_strength != 1 and "appearance" not in targets,
        "structure_strength": config.structure_strength != 1 and targets == {"appearance"},
    }
    for name in (name for name, without_effect in given.items() if without_effect):
        what = f" would have no effect: no term of these settings compares with the {name.partition('_')[0]} image"
        raise ConfigError(Argument(name), what)


def _check_canvas(spec: GeneratorSpec, terms: tuple[WeightedTerm, ...]) -> None:
    for term in terms:
        if spec.canvas and term.input[0] != "structure":
            raise ConfigError(
                f"generator '{spec.name}' holds the output image itself and cannot be fed the appearance image, "
                f"as term '{term.name}' asks; ",
                Setting(f"terms.{term.name}.weight", 0),
                " leaves the term out",
            )
