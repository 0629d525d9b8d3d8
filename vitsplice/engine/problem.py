"""From settings and two images to a problem that can be optimised: names are looked up, parts are built."""

from __future__ import annotations

from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.config import RunConfig, ViewConfig
from vitsplice.contracts import Backbone, GeneratorSpec, Role, TermContext
from vitsplice.engine.features import Resizer
from vitsplice.engine.loop import Problem, WeightedTerm
from vitsplice.engine.targets import RunImages
from vitsplice.errors import Argument, ConfigError, Setting
from vitsplice.options import complete
from vitsplice.plugins import Catalogue
from vitsplice.rng import private_rng


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
    look: Resizer | None = None,
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
