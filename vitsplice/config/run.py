"""Settings of a run."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from vitsplice.config.backbones import ONLY, BackboneConfig
from vitsplice.config.images import MaskConfig, MatchConfig, ResizeConfig
from vitsplice.config.model import ModelConfig
from vitsplice.config.optimisation import CheckpointConfig, GeneratorConfig, OptimiserConfig
from vitsplice.config.settings import MAX_STEPS, Name, Settings
from vitsplice.config.stages import StageConfig
from vitsplice.config.terms import TermConfig
from vitsplice.config.training import TrainingConfig
from vitsplice.config.views import ViewsConfig
from vitsplice.support import bounded_yaml
from vitsplice.support.files import absolute
from vitsplice.text import truncate

FIXED_WITH_FALLBACK = frozenset({"preset", "backbone", "device", "precision", "with_fallback"})
"""Settings that `with_fallback` cannot change: itself; ``preset``, which is only recorded; and ``backbone``, ``device``
and ``precision``, with which backbones are loaded before it is known whether a fallback is used."""


class RunConfig(Settings):
    """Settings of a run or a training: all that its result depends on besides the inputs, the software and the machine.

    Args:
        preset: name of a preset, or path of a YAML file or of a model folder, on which the settings are based; recorded
            only.
        backbones: backbones by the keys that terms use. The first, and those in `MatchConfig.further_backbones`, match
            the images; terms that give no key use the first. A single backbone may be given as ``backbone``, without a
            key.
        start: image that the output starts from: the structure image (``structure``), the warm start (``match``;
            `vitsplice.engine.warm_start`), or the output of a trained model (``model``).
        model: the trained model; required by the start ``model``, and allowed only with it.
        terms: loss terms by name; the names are the columns of ``losses.csv``.
        stages: stages from coarse to fine. The difference between the output of the last stage and the start image at
            the size of that stage is upsampled and added to the start image at full size. Empty: the output is
            optimised at full size.
        structure_strength: factor applied to the weights of all terms whose target is the structure image or the start.
            In a run without steps, it scales the detail of the warm start.
        appearance_strength: factor applied to the weights of all terms whose target is the appearance image. A value
            below 1 also moves the start ``match`` or ``model`` towards the structure image. In a run without steps, a
            value above 1 increases the differences of colours in the warm start (`vitsplice.engine.warm_start`).
        steps: number of steps; 0 returns the start.
        size: shorter side, in pixels, to which all images are resized first; None: no resizing. Not allowed with
            ``training``, which has `TrainingConfig.side`.
        seed: seed of all random number generators.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto``: CUDA, MPS or the CPU, the first that is available.
        precision: precision of backbones that state none; ``auto``: bfloat16 where the device has it in hardware.
        previews: interval of previews in steps. The start has a preview too, and so have step 10 if the interval is
            above 10, step 25 if it is above 25, and the last step of a training. 0: none.
        metrics: whether to measure the output at the end of the run (`vitsplice.metrics`).
        plots: whether to write ``losses.png`` and ``report.html``.
        with_fallback: settings, as nested mappings, that replace the others if a fallback is used in place of a
            backbone (`vitsplice.presets.merging`). Settings that the user overrides are not replaced.
        training: training of one conditional generator on many pairs (``vitsplice train``); None: a run on one pair.

    The settings of previews, metrics, plots and checkpoints do not change the output.
    """

    preset: str | None = Field(default=None, max_length=bounded_yaml.MAX_TEXT)
    backbones: dict[str, BackboneConfig] = Field(min_length=1)
    start: Literal["structure", "match", "model"] = "structure"
    model: ModelConfig | None = None
    match: MatchConfig = MatchConfig()
    mask: MaskConfig = MaskConfig()
    generator: GeneratorConfig = GeneratorConfig()
    terms: dict[str, TermConfig] = Field(default_factory=dict)
    stages: tuple[StageConfig, ...] = ()
    structure_strength: float = Field(default=1.0, ge=0, le=10)
    appearance_strength: float = Field(default=1.0, ge=0, le=10)
    views: ViewsConfig = ViewsConfig()
    resize: ResizeConfig = ResizeConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    steps: int = Field(ge=0, le=MAX_STEPS)
    size: int | None = Field(default=None, ge=16, le=16384)
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: Name = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    previews: int = Field(default=50, ge=0, le=MAX_STEPS)
    metrics: Literal["all", "none"] = "all"
    plots: Literal["all", "none"] = "all"
    checkpoint: CheckpointConfig = CheckpointConfig()
    with_fallback: dict[str, Any] = Field(default_factory=dict)
    training: TrainingConfig | None = None

    @field_validator("with_fallback")
    @classmethod
    def _check_with_fallback(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted(FIXED_WITH_FALLBACK.intersection(changes)):
            raise ValueError(f"with_fallback cannot change {', '.join(fixed)}")
        return _with_complete_paths(changes)

    @model_validator(mode="before")
    @classmethod
    def _read_one_backbone(cls, data: Any) -> Any:
        """Accept ``backbone`` in the place of ``backbones``."""
        if not isinstance(data, dict) or "backbone" not in data:
            return data
        if "backbones" in data:
            raise ValueError("give either backbone or backbones, not both")
        others = {key: value for key, value in data.items() if key != "backbone"}
        return others | {"backbones": {ONLY: data["backbone"]}}

    @model_serializer(mode="wrap")
    def _write_as_read(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a single backbone with the key `ONLY` as ``backbone``, and ``model`` and ``training`` only if given."""
        optional = ("model", "training")
        data = {key: value for key, value in dump(self).items() if value is not None or key not in optional}
        if list(self.backbones) != [ONLY] or "backbones" not in data:
            return data
        return {
            ("backbone" if key == "backbones" else key): value[ONLY] if key == "backbones" else value
            for key, value in data.items()
        }

    @field_validator("terms")
    @classmethod
    def _check_term_names(cls, terms: dict[str, TermConfig]) -> dict[str, TermConfig]:
        for name in terms:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name in {"step", "total"}:
                raise ValueError(
                    f"{truncate(name)!r} cannot be the name of a term; a name has 1 to 64 letters, digits, - or _, and "
                    "is neither step nor total"
                )
        return terms

    @field_validator("backbones")
    @classmethod
    def _check_backbone_keys(cls, backbones: dict[str, BackboneConfig]) -> dict[str, BackboneConfig]:
        for key in backbones:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
                raise ValueError(
                    f"{truncate(key)!r} cannot be the key of a backbone; a key has 1 to 64 letters, digits, - or _"
                )
        return backbones

    @model_validator(mode="after")
    def _check_references(self) -> RunConfig:
        for name, term in self.terms.items():
            if term.backbone is not None and term.backbone not in self.backbones:
                allowed = ", ".join(self.backbones)
                raise ValueError(f"terms.{name}.backbone: {term.backbone!r} is not one of the backbones: {allowed}")
        added = self.with_fallback.get("backbones")
        if changed := [name for name in self.backbones if isinstance(added, dict) and name in added]:
            raise ValueError(
                f"with_fallback.backbones: {changed[0]!r} is already a backbone; only new keys can be added"
            )
        after_first = list(self.backbones)[1:]
        further = self.match.further_backbones
        if unknown := [name for name in further if name not in after_first]:
            allowed = f"allowed: {', '.join(after_first)}" if after_first else "there is only one backbone"
            raise ValueError(f"match.further_backbones: {unknown[0]!r} is not a backbone after the first; {allowed}")
        if len(set(further)) < len(further):
            raise ValueError(f"match.further_backbones: a backbone is given twice: {', '.join(further)}")
        for number, stage in enumerate(self.stages):
            if unknown := [name for name in stage.terms or () if name not in self.terms]:
                allowed = ", ".join(self.terms) or "there are none"
                raise ValueError(f"stages.{number}.terms: {unknown[0]!r} is not one of the terms: {allowed}")
        return self

    @model_validator(mode="after")
    def _check_training(self) -> RunConfig:
        if self.training is None:
            return self
        if self.steps == 0:
            raise ValueError("steps: 0 is not allowed with training")
        if self.stages:
            raise ValueError("stages are not allowed with training, whose images have one size: training.side")
        if self.match.further_backbones:
            raise ValueError(
                "match.further_backbones is not allowed with training, which matches images by the first backbone"
            )
        return self

    @model_validator(mode="after")
    def _check_model(self) -> RunConfig:
        if (self.start == "model") != (self.model is not None):
            raise ValueError(
                "start: model requires model.folder (the folder of a trained model), and model.folder requires "
                "start: model"
            )
        if self.start == "model" and not self.steps and self.structure_strength != 1:
            raise ValueError(
                "structure_strength has no effect on the output of a model; set steps above 0, so that this output is "
                "optimised"
            )
        if self.start == "model" and not self.steps and self.appearance_strength > 1:
            raise ValueError(
                "appearance_strength above 1 has no effect on the output of a model; set steps above 0, so that this "
                "output is optimised"
            )
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> RunConfig:
        if self.steps == 0 and self.start == "structure":
            raise ValueError(
                "steps: 0 is not allowed unless start is match or model; the output would be the structure image"
            )
        if self.steps > 0 and not self.terms:
            may_be_zero = self.start != "structure" and self.training is None
            advice = "set steps to 0, or use" if may_be_zero else "use"
            raise ValueError(
                f"steps: {self.steps} is not allowed: these settings have no loss terms; {advice} a preset with "
                "terms, such as quick"
            )
        return self

    @property
    def backbone(self) -> BackboneConfig:
        """The first backbone."""
        return next(iter(self.backbones.values()))

    @property
    def matching_backbones(self) -> tuple[str, ...]:
        """Keys of the backbones that match images; with the start ``model`` only the first."""
        return (next(iter(self.backbones)), *(() if self.start == "model" else self.match.further_backbones))

    def backbone_key_of(self, term: TermConfig) -> str:
        """Return the key of the backbone that a term uses."""
        return term.backbone or next(iter(self.backbones))

    @property
    def optimised_losses(self) -> set[str]:
        """Registered names (`TermConfig.loss`) of the terms that are active at any step and belong to any stage.

        A term counts even if it is not active at the steps of its stages, because these depend on the size of the
        output, or if a strength is 0, because `LossSpec.target` decides which strength applies.
        """
        return {
            term.loss for name, term in self.terms.items() if term.ever_active(self.steps) and self._is_in_a_stage(name)
        }

    def _is_in_a_stage(self, term: str) -> bool:
        """Return whether a term belongs to any stage; True in a run without stages."""
        return not self.stages or any(stage.has(term) for stage in self.stages)

    def to_yaml(self) -> str:
        """Format as YAML, from which `vitsplice.presets.loading.load` restores equal settings."""
        return str(yaml.dump(self.model_dump(mode="json"), Dumper=bounded_yaml.Dumper, sort_keys=False))


def _with_complete_paths(changes: dict[str, Any]) -> dict[str, Any]:
    """Make the paths in ``with_fallback`` absolute, and give its ``model`` all keys.

    A merge with other settings (`vitsplice.presets.merging`) then retains no value of the other model.
    """
    changes = deepcopy(changes)
    if isinstance(model := changes.get("model"), str | Path):
        changes["model"] = model = {"folder": model}
    if isinstance(model, dict):
        changes["model"] = {"folder": None, "sha256": None} | model
    backbones = changes.get("backbones")
    added = backbones.values() if isinstance(backbones, dict) else ()
    for settings, key in [*((backbone, "weights") for backbone in added), (changes.get("model"), "folder")]:
        if isinstance(settings, dict) and isinstance(settings.get(key), str | Path):
            settings[key] = str(absolute(settings[key]))
    return changes
