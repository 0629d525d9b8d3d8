"""The contracts of plugins as test classes for pytest.

A plugin's tests are three lines::

    from vitsplice.testing import BackboneContract

    class TestMine(BackboneContract):
        name = "mine-vit"

``vitsplice plugin check NAME`` runs the same from the command line.
"""

from vitsplice.testing.backbones import BackboneContract
from vitsplice.testing.contract import Contract, Verdict
from vitsplice.testing.executors import ExecutorContract
from vitsplice.testing.generators import GeneratorContract
from vitsplice.testing.losses import LossContract
from vitsplice.testing.metrics import MetricContract
from vitsplice.testing.presets import PresetContract

__all__ = [
    "BackboneContract",
    "Contract",
    "ExecutorContract",
    "GeneratorContract",
    "LossContract",
    "MetricContract",
    "PresetContract",
    "Verdict",
]
