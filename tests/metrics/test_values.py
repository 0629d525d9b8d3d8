import pytest
import torch

from tests.metrics.conftest import case
from vitsplice.contracts import Metric, MetricContext, MetricSpec
from vitsplice.metrics.values import UNDEFINED, MetricValue, build_metrics, mean_values, measure

CONTEXT = MetricContext(lambda name: None, "x")


@pytest.mark.parametrize(
    ("built", "reason"),
    [
        (None, "the build function of metric 'wrong' returned None, not an instance of Metric"),
        (lambda case: 1.0, "the build function of metric 'wrong' returned a function, not an instance of Metric"),
        (Metric(float, parameters={"device": torch.device("cpu")}), "TypeError: Object of type device is not JSON"),
        (Metric(float, parameters={"size": float("nan")}), "ValueError: Out of range float values are not JSON"),
    ],
)
def test_metric_of_the_wrong_type_or_with_parameters_that_are_not_json_is_unavailable(built, reason):
    specs = [MetricSpec("wrong", lambda _: built, "wrong"), MetricSpec("valid", lambda _: Metric(lambda _: 1), "1")]
    assert build_metrics(specs, CONTEXT).unavailable["wrong"].startswith(reason)
    wrong, valid = measure(specs, CONTEXT, case(*torch.zeros(2, 1, 3, 8, 8)))
    assert (wrong.value, wrong.reason[: len(reason)], valid.value) == (None, reason, 1)


def test_mean_is_weighted_and_missing_if_a_value_is_missing():
    first = [MetricValue("a", 1.0, start=2.0, unchanged=4.0), MetricValue("b", 1.0)]
    second = [MetricValue("a", 3.0, start=None, unchanged=8.0), MetricValue("b", None, UNDEFINED)]
    a, b = mean_values([first, second], [1.0, 3.0])
    assert a == MetricValue("a", 2.5, start=None, unchanged=7.0)
    assert b == second[1]
    assert mean_values([first], [5.0]) is first


def test_mean_of_values_of_which_one_is_undefined_and_one_failed_has_failed():
    known, undefined, failed = MetricValue("a", 1.0), MetricValue("a", None, UNDEFINED), MetricValue("a", None, "error")
    for values in ([known, undefined, failed], [failed, undefined, known]):
        assert mean_values([[value] for value in values], [1.0, 1.0, 1.0]) == [failed]
    assert mean_values([[known], [undefined]], [1.0, 1.0]) == [undefined]
