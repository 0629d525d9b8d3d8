import pytest

from tests.conftest import noise
from vitsplice.contracts import Case, MetricContext
from vitsplice.metrics import output_specs as metrics
from vitsplice.metrics.output import AKIN, FIGURES, figures

NAMES = [name.replace("-", "_") for name in FIGURES]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_the_figure_of_measure(cnn, name):
    shown = Case("c", *(noise(1, 3, 64, 80, seed=seed) for seed in range(3)))
    metric = getattr(metrics, name)(MetricContext(lambda name: cnn, "x"))
    known = {one.name: one for one in figures(shown.structure, shown.appearance, shown.output, cnn)}
    found = known[name.replace("_", "-")]
    assert metric.value(shown) == pytest.approx(found.value, rel=0.02)  # pictures may be rounded to what a CNN takes
    assert metric.akin == ((found.akin,) if found.akin else ())
    assert metric.networks == ((cnn.info,) if "cnn" in name else ())


def test_figures_of_pixels_need_no_network():
    def load(name):
        raise AssertionError(name)

    for name in AKIN:
        getattr(metrics, name.replace("-", "_"))(MetricContext(load, "x"))
