"""The built-in parts, and those of the plugin vitsplice-offline, fulfil the contracts of plugins."""

import pytest

from vitsplice.plugins import catalogue
from vitsplice.testing import (
    BackboneContract,
    ConditionalGeneratorContract,
    GeneratorContract,
    LossContract,
    MetricContract,
    PresetContract,
)

pytestmark = pytest.mark.slow


def define_tests(contract, names, mark=lambda test: test):
    """Define the contract as a test class for each name."""
    for name in names:
        title = f"Test_{name.replace('-', '_')}_{contract.kind}"
        globals()[title] = mark(type(title, (contract,), {"name": name, "__module__": __name__}))


class _OfflineContract(BackboneContract):
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")


class _OptimisedOnceContract(ConditionalGeneratorContract):
    """Optimise the generator once for all checks that only read it: the two steps of `splicenet` take seconds."""

    def _optimised(self):
        if "_kept" not in vars(type(self)):
            type(self)._kept = super()._optimised()
        return type(self)._kept


BUILTIN = catalogue().plugins[0].specs
define_tests(BackboneContract, ["tiny-vit", "tiny-cnn"])
define_tests(GeneratorContract, BUILTIN["generators"])
define_tests(_OptimisedOnceContract, BUILTIN["conditional_generators"])
define_tests(LossContract, BUILTIN["losses"])
define_tests(MetricContract, [name for name in BUILTIN["metrics"] if name != "kid"])  # kid: one minute for 50 pairs
define_tests(PresetContract, BUILTIN["presets"])
OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline", "efficientnet-lite1-offline"]
define_tests(_OfflineContract, OFFLINE, pytest.mark.weights)
