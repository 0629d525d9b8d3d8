"""Specs of the parts that plugins provide, and the data that these parts exchange with the engine.

The hooks of `vitsplice.hookspecs` return these specs. The package imports no torch, so that plugins can be listed
without loading torch.
"""

from __future__ import annotations

from vitsplice.contracts.conditional import SPATIAL, Condition, ConditionalGeneratorSpec, ConditionName
from vitsplice.contracts.executors import Executor, ExecutorSpec, Job, Outcome
from vitsplice.contracts.features import (
    ENGINE_FACETS,
    GLOBAL_FACETS,
    INPUT,
    LAB,
    MASK,
    MATCH,
    PIXELS,
    POSITIONS,
    POSITIONS_COUNT,
    ROLES,
    Backbone,
    BackboneInfo,
    BackboneSpec,
    FeatureRequest,
    Features,
    ImageName,
    Role,
    layer_file_label,
    layer_label,
)
from vitsplice.contracts.metrics import Case, Metric, MetricContext, MetricSpec
from vitsplice.contracts.parts import CommandSpec, GeneratorSpec, LossSpec, LossTerm, Option, PresetSpec, TermContext

__all__ = [
    "ENGINE_FACETS",
    "GLOBAL_FACETS",
    "INPUT",
    "LAB",
    "MASK",
    "MATCH",
    "PIXELS",
    "POSITIONS",
    "POSITIONS_COUNT",
    "ROLES",
    "SPATIAL",
    "Backbone",
    "BackboneInfo",
    "BackboneSpec",
    "Case",
    "CommandSpec",
    "Condition",
    "ConditionName",
    "ConditionalGeneratorSpec",
    "Executor",
    "ExecutorSpec",
    "FeatureRequest",
    "Features",
    "GeneratorSpec",
    "ImageName",
    "Job",
    "LossSpec",
    "LossTerm",
    "Metric",
    "MetricContext",
    "MetricSpec",
    "Option",
    "Outcome",
    "PresetSpec",
    "Role",
    "TermContext",
    "layer_file_label",
    "layer_label",
]
