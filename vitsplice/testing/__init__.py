"""Contracts of plugins as test classes for pytest.

The tests of one part of a plugin are three lines::

    from vitsplice.testing import BackboneContract

    class TestMine(BackboneContract):
        name = "mine-vit"

``vitsplice plugin check NAME`` runs the same checks, with the defaults of the class, from the command line.
"""

from typing import Any

from vitsplice.testing.backbones import BackboneContract
from vitsplice.testing.conditional_generators import ConditionalGeneratorContract
from vitsplice.testing.contract import CheckResult, Contract
from vitsplice.testing.executors import ExecutorContract
from vitsplice.testing.generators import GeneratorContract
from vitsplice.testing.losses import LossContract
from vitsplice.testing.metrics import MetricContract
from vitsplice.testing.presets import PresetContract

_CONTRACTS = (
    BackboneContract,
    LossContract,
    GeneratorContract,
    ConditionalGeneratorContract,
    MetricContract,
    PresetContract,
    ExecutorContract,
)
CONTRACTS: dict[str, type[Contract[Any]]] = {contract.kind: contract for contract in _CONTRACTS}
"""Contract of each kind of part."""

__all__ = [
    "CONTRACTS",
    "BackboneContract",
    "CheckResult",
    "ConditionalGeneratorContract",
    "Contract",
    "ExecutorContract",
    "GeneratorContract",
    "LossContract",
    "MetricContract",
    "PresetContract",
]
