import pytest

from tests.conftest import noise
from vitsplice.contracts import Case, MetricContext
from vitsplice.metrics import output_specs as specs
from vitsplice.metrics.output import METRICS, OPTIMISED_BY, metrics

NAMES = [name.replace("-", "_") for name in METRICS]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_the_figure_of_measure(cnn, name):
    shown = Case("c", *(noise(1, 3, 64, 80, seed=seed) for seed in range(3)))
    metric = getattr(specs, name)(MetricContext(lambda name: cnn, "x"))
    known = {one.name: one for one in metrics(shown.structure, shown.appearance, shown.output, cnn)}
    found = known[name.replace("_", "-")]
    assert metric.value(shown) == pytest.approx(found.value, rel=0.02)  # images may be rounded to what a CNN takes
    assert metric.optimised_by == ((found.optimised_by,) if found.optimised_by else ())
    assert metric.networks == ((cnn.info,) if "cnn" in name else ())


def test_metrics_of_pixels_need_no_network():
    def load(name):
        raise AssertionError(name)

    for name in OPTIMISED_BY:
        getattr(specs, name.replace("-", "_"))(MetricContext(load, "x"))
