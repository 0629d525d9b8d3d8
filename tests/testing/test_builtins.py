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


class _NarrowContract(ConditionalGeneratorContract):
    """The checks with fewer channels, because at its default width `splicenet` takes seconds for each of them."""

    @pytest.fixture(autouse=True)
    def _narrow(self, monkeypatch):
        narrow = {"width": 0.25}
        monkeypatch.setattr("vitsplice.testing.conditional_generators.complete", lambda spec, _: complete(spec, narrow))


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
define_tests(_NarrowContract, BUILTIN["conditional_generators"])
define_tests(LossContract, BUILTIN["losses"])
# kid takes one minute for its 50 pairs
define_tests(_SmallMetricContract, [name for name in BUILTIN["metrics"] if name != "kid"])
define_tests(PresetContract, BUILTIN["presets"])
OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline", "efficientnet-lite1-offline"]
define_tests(_OfflineContract, OFFLINE, pytest.mark.weights)
