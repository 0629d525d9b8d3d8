"""From settings and two pictures to a problem that can be optimised: names are looked up, parts are built."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig, RunConfig, ViewConfig
from vitsplice.contracts import Backbone, GeneratorSpec, Role, TermContext
from vitsplice.engine.loop import Problem, WeightedTerm
from vitsplice.errors import ConfigError, UnknownName, WeightsRejected, WeightsUnavailable
from vitsplice.options import complete
from vitsplice.plugins import Catalogue
from vitsplice.rng import private_rng

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Substitution:
    """A backbone that stands in for the one a preset names."""

    wanted: str
    used: str
    why: str

    def __str__(self) -> str:
        return f"backbone '{self.wanted}' cannot be had, so '{self.used}' is used instead. {self.why}"


def load_backbone(config: BackboneConfig, catalogue: Catalogue) -> tuple[Backbone, Substitution | None]:
    """Load a backbone, or the first of its fallbacks whose weights can be had.

    Raises:
        UnknownName: if no such backbone is registered.
        WeightsUnavailable: if neither its weights nor those of a fallback can be had.
    """
    spec = catalogue.backbone(config.name)
    try:
        return spec.build(config.weights), None
    except WeightsUnavailable as error:
        if not config.fallback:
            raise
        missing = error
    why = []
    for name in config.fallback:
        try:
            return catalogue.backbone(name).build(None), Substitution(config.name, name, str(missing).splitlines()[0])
        except (UnknownName, WeightsUnavailable, WeightsRejected) as error:
            why.append(f"Its fallback '{name}' cannot be had either: {error}")
    raise WeightsUnavailable("\n".join([str(missing), *why])) from missing


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
            raise ConfigError(f"terms.{name}: {error}") from error
        input_ = (term.input or spec.input, term.view)
        target = (term.target or spec.target, term.target_view or term.view)
        terms.append(WeightedTerm(name, built, term, input_, target))
    if not any(term.config.ever_active(config.steps) for term in terms):
        raise ConfigError(f"terms: none has a weight and a turn within {config.steps} steps; nothing to optimise")
    return tuple(terms)


def assemble(
    config: RunConfig,
    structure: Tensor,
    appearance: Tensor,
    backbone: Backbone,
    catalogue: Catalogue,
    device: torch.device,
) -> Problem:
    """Everything that an optimisation needs, on its device. ``config.precision`` must not be ``auto``."""
    spec = catalogue.generator(config.generator.name)
    options = complete(spec, config.generator.options, "generator.options")
    terms = weighted_terms(config, backbone, catalogue)
    _check_canvas(spec, terms)
    _check_blur("structure", config.views.structure, structure)
    _check_blur("appearance", config.views.appearance, appearance)
    with private_rng(config.seed):
        generator = spec.build(structure, options)
    return Problem(
        config=config,
        structure=structure.to(device),
        appearance=appearance.to(device),
        backbone=backbone.to(device, DTYPES[config.precision]),
        generator=generator.to(device).train(),
        canvas=spec.canvas,
        terms=terms,
    )


def _check_blur(role: Role, view: ViewConfig, image: Tensor) -> None:
    smallest = round(view.crop[0] * min(image.shape[-2:]))
    if view.blur.probability > 0 and view.blur.kernel // 2 >= smallest:
        raise ConfigError(
            f"views.{role}.blur.kernel: {view.blur.kernel} is too large for views of {smallest} px; "
            f"the most is {2 * smallest - 1}"
        )


def _check_canvas(spec: GeneratorSpec, terms: tuple[WeightedTerm, ...]) -> None:
    for term in terms:
        if spec.canvas and term.input[0] != "structure":
            raise ConfigError(
                f"generator '{spec.name}' holds the output picture itself and cannot be fed the appearance image, "
                f"as term '{term.name}' asks; --set terms.{term.name}.weight=0 leaves the term out"
            )
