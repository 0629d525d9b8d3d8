"""The built-in parts, and those of the plugins beside them, pass through the kit that strangers use."""

import pytest

from vitsplice.plugins import catalogue
from vitsplice.testing import BackboneContract, GeneratorContract, LossContract, MetricContract, PresetContract

pytestmark = pytest.mark.slow

OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline"]


def of_all(contract, names):
    """The contract as a test class for each name."""
    for name in names:
        title = f"Test_{name.replace('-', '_')}_{contract.kind}"
        globals()[title] = type(title, (contract,), {"name": name, "__module__": __name__})


OURS = catalogue().plugins[0].specs
of_all(BackboneContract, ["tiny-vit", "tiny-cnn"])
of_all(GeneratorContract, OURS["generators"])
of_all(LossContract, OURS["losses"])
of_all(MetricContract, [name for name in OURS["metrics"] if name != "kid"])  # fifty pairs a check: a minute
of_all(PresetContract, OURS["presets"])


class _Offline(BackboneContract):
    @pytest.fixture(autouse=True)
    def _there(self):
        pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")


for _name in OFFLINE:
    _title = f"Test_{_name.replace('-', '_')}"
    globals()[_title] = pytest.mark.weights(type(_title, (_Offline,), {"name": _name, "__module__": __name__}))
