"""Built-in parts, and backbones of the plugin vitsplice-offline and of the tests, fulfil the contracts of plugins.

The built-in executor is tested in tests/batch/test_local_executor.py.
"""

from functools import cache

import pytest

from vitsplice.engine.backbones import load_backbone
from vitsplice.options import complete
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
    """Define a test class of the contract for each name."""
    for name in names:
        title = f"Test_{name.replace('-', '_')}_{contract.kind}"
        globals()[title] = mark(type(title, (contract,), {"name": name, "__module__": __name__}))


class _OfflineContract(BackboneContract):
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")


NARROW = {
    "prior": {"channels": (8, 16), "kernels": (5, 3)},
    "unet": {"channels": (8, 16, 16)},
    "residual-unet": {"channels": (8, 16, 16)},
    "splicenet": {"width": 0.1},
    "splicenet-residual": {"width": 0.1},
}
"""Options with which networks have fewer channels: at their default widths some take seconds for each check."""


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    for module in ("generators", "conditional_generators"):
        monkeypatch.setattr(
            f"vitsplice.testing.{module}.complete", lambda spec, _: complete(spec, NARROW.get(spec.name, {}))
        )


load_once = cache(load_backbone)


class _SmallMetricContract(MetricContract):
    """Checks of metrics: most use smaller images or grids than in an evaluation, and each network is loaded once."""

    @pytest.fixture(autouse=True)
    def _small(self, small_metrics, monkeypatch):
        monkeypatch.setattr("vitsplice.metrics.segments.SIZE", 112)
        monkeypatch.setattr("vitsplice.metrics.features.GRID", 16)
        monkeypatch.setattr("vitsplice.testing.metrics.load_backbone", load_once)


BUILTIN = catalogue().plugins[0].specs
define_tests(BackboneContract, ["tiny-vit", "tiny-cnn"])
define_tests(GeneratorContract, BUILTIN["generators"])
define_tests(ConditionalGeneratorContract, BUILTIN["conditional_generators"])
define_tests(LossContract, BUILTIN["losses"])
# without kid: its 50 cases (kid.MIN_CASES) would take too long; tests/metrics/test_kid.py tests it
define_tests(_SmallMetricContract, [name for name in BUILTIN["metrics"] if name != "kid"])
define_tests(PresetContract, BUILTIN["presets"])
define_tests(_OfflineContract, ["dinov2-vits14-offline", "efficientnet-lite1-offline"], pytest.mark.weights)


@pytest.mark.weights
def test_efficientnet_lite0_passes_the_checks_of_its_info():
    """The other checks would repeat those of efficientnet-lite1-offline, which the same function builds."""
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    contract = type("Lite0", (BackboneContract,), {"name": "efficientnet-lite0-offline"})
    outcomes = {result.check: result.outcome for result in contract.run_checks("info")}
    assert {"test_info_is_complete", "test_spec_matches_info"} <= set(outcomes)
    assert set(outcomes.values()) == {"passed"}
