"""The built-in parts, and those of the plugin vitsplice-offline, fulfil the contracts of plugins."""

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
    """Define the contract as a test class for each name."""
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
    """The checks with images that are resized to a smaller size than in an evaluation, each network loaded once."""

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
# kid takes one minute for its 50 pairs
define_tests(_SmallMetricContract, [name for name in BUILTIN["metrics"] if name != "kid"])
define_tests(PresetContract, BUILTIN["presets"])
define_tests(_OfflineContract, ["dinov2-vits14-offline", "efficientnet-lite1-offline"], pytest.mark.weights)


@pytest.mark.weights
def test_info_of_the_smaller_lite_is_that_of_its_spec():
    """It is built as efficientnet-lite1-offline is, so that the other checks are those of that one."""
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    contract = type("Lite0", (BackboneContract,), {"name": "efficientnet-lite0-offline"})
    outcomes = {result.check: result.outcome for result in contract.run_checks("info")}
    assert {"test_info_is_complete", "test_spec_matches_info"} <= set(outcomes)
    assert set(outcomes.values()) == {"passed"}
