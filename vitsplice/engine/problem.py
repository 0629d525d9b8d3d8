"""Build the components of a run from its settings, and assemble its problem from these components and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vitsplice.backbones.inputs import Area, Fit, Resize, Resizing
from vitsplice.config import BackboneConfig, RunConfig, StageConfig, ViewConfig
from vitsplice.contracts import (
    MATCH,
    Backbone,
    ConditionalGeneratorSpec,
    GeneratorSpec,
    LossSpec,
    LossTerm,
    Role,
    TermContext,
)
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Problem
from vitsplice.engine.start import StartModel
from vitsplice.engine.terms import WeightedTerm
from vitsplice.errors import Argument, ConfigError, PartRejected, Setting
from vitsplice.matching import MatchVectors
from vitsplice.options import complete
from vitsplice.plugins import Catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.loading import with_fallback
from vitsplice.rng import private_rng


@dataclass(frozen=True)
class Components:
    """The backbones, loss terms and generator of a run; every stage uses the same.

    Args:
        config: settings with resolved device and precision.
        backbones: backbones by their keys in the settings, in their precisions, on the device of the run.
        terms: terms whose weight in the settings is not 0; none in a run without steps.
        generator: spec of the generator, which each stage builds for its image size.
        generator_options: all options of the generator, validated.
        model: trained model whose output the run starts from, on the device of the run; None for other starts.
    """

    config: RunConfig
    backbones: Mapping[str, Backbone]
    terms: tuple[WeightedTerm, ...]
    generator: GeneratorSpec
    generator_options: Mapping[str, Any]
    model: StartModel | None = None

    @classmethod
    def build(
        cls,
        config: RunConfig,
        backbones: Mapping[str, Backbone],
        catalogue: Catalogue,
        model: StartModel | None = None,
    ) -> Components:
        """Look up and build the components.

        Raises:
            UnknownName: if a loss term or the generator is not registered.
            ConfigError: naming the key, if an option, facet or layer is not allowed, or if no term is ever active.
            PartRejected: see `weighted_terms`.
        """
        generator = catalogue.generators[config.generator.name]
        options = complete(generator, config.generator.options, "generator.options.")
        terms = weighted_terms(config, backbones, catalogue) if config.steps else ()
        return cls(config, backbones, terms, generator, options, model)

    @property
    def first_backbone(self) -> Backbone:
        """The backbone of terms that do not name one."""
        return next(iter(self.backbones.values()))

    @property
    def guided(self) -> bool:
        """Whether a term requests the correspondence."""
        return any(MATCH in term.loss_term.requests for term in self.terms)

    def build_generator(self, image: Tensor) -> nn.Module:
        """Build the generator for an image ``(1, 3, H, W)``, on the CPU and in training mode.

        Raises:
            PartRejected: see `build_part`; or if the engine cannot optimise the generator or store its state.
        """
        with private_rng(self.config.seed):
            generator = build_part(self.generator, image.cpu(), self.generator_options).train()
        if mistake := _generator_mistake(generator):
            raise PartRejected(f"generator '{self.generator.name}' {mistake}")
        return generator


def _generator_mistake(generator: nn.Module) -> str:
    """Describe why the engine cannot optimise a generator or store its state; "" if it can."""
    if any(map(is_lazy, generator.parameters())):
        return "has lazy modules, whose parameters have no shape yet; give them their sizes"
    if not any(parameter.requires_grad for parameter in generator.parameters()):
        return "has no parameters that require a gradient, so it cannot be optimised"
    others = [name for name, value in generator.state_dict().items() if not isinstance(value, Tensor)]
    return f"has the state '{others[0]}', which is not a tensor; checkpoints store only tensors" if others else ""


def check_run(config: RunConfig, catalogue: Catalogue) -> None:
    """Check that settings are for one pair of images, not for training, and check their parts (`check_parts`).

    Raises:
        UnknownName, ConfigError: naming the part or the key.
    """
    if config.training is not None:
        raise ConfigError(
            f"{config.preset or 'a preset'} has the setting training and is not for one pair of images, but for "
            "`vitsplice train`, which trains a generator for many pairs; for one pair use another preset, such as quick"
        )
    check_parts(config, catalogue)


def check_before_loading(config: RunConfig, catalogue: Catalogue) -> None:
    """Check settings as `check_run` does, and check that every backbone without a fallback is registered."""
    for backbone in config.backbones.values():
        if not backbone.fallback:
            catalogue.backbones[backbone.name]  # raises UnknownName
    check_run(config, catalogue)


def check_parts(config: RunConfig, catalogue: Catalogue) -> None:
    """Check that the generator and every loss term, also of weight 0, exist and accept their options.

    This includes the settings that apply if a fallback replaces a backbone.

    Raises:
        UnknownName, ConfigError: naming the part or the key.
    """
    for settings in (config, with_fallback(config, "settings")):
        complete(_generator_spec(settings, catalogue), settings.generator.options, "generator.options.")
        for name, term in settings.terms.items():
            complete(catalogue.losses[term.loss], term.options, f"terms.{name}.options.")


def _generator_spec(config: RunConfig, catalogue: Catalogue) -> GeneratorSpec | ConditionalGeneratorSpec:
    """Look up the generator of a run or of a training."""
    name = config.generator.name
    if config.training is not None:
        return catalogue.conditional_generators[name]
    if name in catalogue.conditional_generators and name not in catalogue.generators:
        raise ConfigError(
            f"generator.name: '{name}' is trained on many pairs by `vitsplice train`, not optimised for one pair; "
            "`vitsplice list generators` lists the generators for one pair"
        )
    return catalogue.generators[name]


def weighted_terms(
    config: RunConfig, backbones: Mapping[str, Backbone], catalogue: Catalogue
) -> tuple[WeightedTerm, ...]:
    """Build the terms of a run whose weight in the settings is not 0.

    Raises:
        UnknownName: if a loss term is not registered.
        ConfigError: naming the key, if a facet, layer or option is not allowed, or if no term is ever active.
        PartRejected: naming the term, if its loss term cannot be built (see `build_part`).
    """
    terms = []
    for name, term in config.terms.items():
        spec = catalogue.losses[term.loss]
        options = complete(spec, term.options, f"terms.{name}.options.")
        if term.weight == 0:
            continue
        backbone = config.backbone_key_of(term)
        context = TermContext(backbones[backbone].info, term.facet, term.layer, options)
        loss_term = _build_term(name, spec, context)
        input_ = (term.input or spec.input, term.view)
        target = (term.target or spec.target, term.target_view or term.view)
        strength = config.appearance_strength if target[0] == "appearance" else config.structure_strength
        terms.append(WeightedTerm(name, loss_term, term, backbone, input_, target, term.weight * strength))
    if not any(term.weight > 0 and term.config.ever_active(config.steps) for term in terms):
        raise ConfigError(
            f"terms: no term is active within {config.steps} steps with a weight (multiplied by its strength) above 0"
        )
    return tuple(terms)


def _build_term(name: str, spec: LossSpec, context: TermContext) -> LossTerm:
    """Build the loss term of a spec; errors name the term, ``name``."""
    try:
        return build_part(spec, context)
    except ConfigError as error:
        raise ConfigError(f"terms.{name}: ", *error.parts) from error
    except PartRejected as error:
        raise PartRejected(f"term '{name}': ", *error.parts) from error


def assemble(
    components: Components,
    images: RunImages,
    vectors: MatchVectors | None = None,
    stage: StageConfig | None = None,
    generator_input: Tensor | None = None,
) -> Problem:
    """Assemble the problem of a stage, or of a run without stages.

    Args:
        components: components of the run.
        images: images at the size of the stage, on the device of the run.
        vectors: vectors of the facet ``match``; None if no term requests it.
        stage: the stage; None: a run without stages.
        generator_input: input of the generator, ``(1, 3, H, W)``; None: the start image.
    """
    config = components.config
    generator_input = images.pixels["start"] if generator_input is None else generator_input
    return Problem(
        config=config,
        images=images,
        backbones={
            name: SizedBackbone(backbone, resizer(config, config.backbones[name], stage))
            for name, backbone in components.backbones.items()
        },
        vectors=vectors,
        tile=stage.tile if stage else None,
        generator=components.build_generator(generator_input).to(generator_input.device),
        canvas=components.generator.canvas,
        terms=_terms_of(components, stage),
        generator_input=generator_input,
    )


def check_stages(components: Components, images: RunImages, stages: Sequence[tuple[StageConfig | None, range]]) -> None:
    """Check the terms of all stages before the first step.

    Args:
        components: components of the run.
        images: images of the run.
        stages: each stage of the run with the indices of its steps; the stage is None in a run without stages.

    Raises:
        ConfigError: if a mask or strength has no effect, a term needs the appearance image as the generator's input
            where this is not allowed, or no term with a weight is active in a stage.
    """
    configured = components.config.stages
    used_terms = [
        term for term in components.terms if not configured or any(stage.has(term.name) for stage in configured)
    ]
    active = [term for term in used_terms if term.config.ever_active(components.config.steps)]
    _check_effect(components.config, active, images)
    for stage, steps in stages:
        terms = _terms_of(components, stage)
        if not any(term.weight > 0 and any(map(term.config.active, steps)) for term in terms):
            raise ConfigError(
                f"stages: the stage of steps {steps.start} to {steps[-1]} has no term with a weight (multiplied by its "
                "strength) above 0 that is active at one of these steps; change the start or interval of a term, "
                "or the stages"
            )
        for term in terms:
            if term.input[0] != "structure":
                _check_appearance_input(components.generator, stage, term)


def _terms_of(components: Components, stage: StageConfig | None) -> tuple[WeightedTerm, ...]:
    return tuple(term for term in components.terms if stage is None or stage.has(term.name))


def resizer(config: RunConfig, backbone: BackboneConfig, stage: StageConfig | None) -> Resizing:
    """Return the resizing of views for a backbone in a stage."""
    if backbone.side == "view" or (stage is not None and stage.tile is not None):
        return Fit()
    if backbone.side is not None:
        return Area(backbone.side)
    return Area(stage.side) if stage else Resize(**config.resize.model_dump())


def check_blur(role: Role, view: ViewConfig, side: int) -> None:
    """Raise ConfigError if a blur kernel is too large for views of an image with this shorter side."""
    smallest = max(1, round(view.crop[0] * side))
    if view.blur.probability > 0 and view.blur.kernel // 2 >= smallest:
        raise ConfigError(
            f"views.{role}.blur.kernel: {view.blur.kernel} is too large for views of {smallest} px; "
            f"at most {2 * smallest - 1} is allowed"
        )


def _check_effect(config: RunConfig, terms: Sequence[WeightedTerm], images: RunImages) -> None:
    """Raise ConfigError for a strength or mask that neither a term nor the start uses."""
    targets = {term.target[0] for term in terms}
    is_compared, start_uses_appearance = "appearance" in targets, config.start != "structure"
    start_uses_strength = start_uses_appearance and config.appearance_strength < 1
    unused = {
        "appearance_mask": not (is_compared or start_uses_appearance) and images.appearance_masked,
        "appearance_strength": not (is_compared or start_uses_strength) and config.appearance_strength != 1,
        "structure_strength": config.structure_strength != 1 and targets == {"appearance"},
    }
    for name, is_unused in unused.items():
        if is_unused:
            image = name.partition("_")[0]
            raise ConfigError(
                Argument(name),
                " would have no effect: no term of these settings compares the output with the "
                f"{image} image; leave it out",
            )


def _check_appearance_input(spec: GeneratorSpec, stage: StageConfig | None, term: WeightedTerm) -> None:
    """Raise ConfigError if the generator or the stage does not allow the appearance image as the generator's input."""
    if spec.canvas:
        raise ConfigError(
            f"generator '{spec.name}' holds the output image itself and cannot take the appearance image as input, "
            f"which term '{term.name}' requires; disable that term with ",
            Setting(f"terms.{term.name}.weight", 0),
        )
    if stage is not None and stage.tile is not None:
        raise ConfigError(
            f"term '{term.name}' takes the appearance image as input, so it cannot be active in a stage on tiles; "
            "give that stage a list `terms` without this term"
        )
