"""Settings of a run, as frozen pydantic models.

`support.bounded_yaml` parses YAML, `presets.loading` merges overrides and validates the result as a `RunConfig`, and
`support.validation_errors` describes each mistake in pydantic's ValidationError for the message of a ConfigError.
"""

from __future__ import annotations

from vitsplice.config.backbones import ONLY, BackboneConfig
from vitsplice.config.images import MaskConfig, MatchConfig
from vitsplice.config.model import ModelConfig
from vitsplice.config.optimisation import CheckpointConfig, GeneratorConfig, OptimiserConfig
from vitsplice.config.run import RunConfig
from vitsplice.config.stages import MIN_TILED_AREA_RATIO, StageConfig
from vitsplice.config.terms import TermConfig
from vitsplice.config.training import TrainingConfig
from vitsplice.config.views import BlurConfig, JitterConfig, ViewConfig, ViewsConfig

__all__ = [
    "MIN_TILED_AREA_RATIO",
    "ONLY",
    "BackboneConfig",
    "BlurConfig",
    "CheckpointConfig",
    "GeneratorConfig",
    "JitterConfig",
    "MaskConfig",
    "MatchConfig",
    "ModelConfig",
    "OptimiserConfig",
    "RunConfig",
    "StageConfig",
    "TermConfig",
    "TrainingConfig",
    "ViewConfig",
    "ViewsConfig",
]
