"""The contract of metrics finds every deliberate mistake."""

import pytest
import torch

from tests.testing.failures import failures
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import UnknownName, WeightsUnavailable
from vitsplice.testing import MetricContract
from vitsplice.testing.inputs import tiny_vit


def distance(case):
    return float((case.output.mean((2, 3)) - case.appearance.mean((2, 3))).abs().mean())


def correct(context):
    return Metric(distance)


def unstated_network(context):
    context.load(context.backbone)
    return Metric(distance)


def set_as_parameter(context):
    return Metric(distance, parameters={"sizes": {1, 2}})


def nan_as_parameter(context):
    return Metric(distance, parameters={"threshold": float("nan")})


def tensor(context):
    return Metric(lambda case: case.output.mean())


def infinite(context):
    return Metric(lambda case: float("inf"))


def needs_masks(context):
    return Metric(lambda case: float(case.structure_mask.mean()) * distance(case))


def random(context):
    return Metric(lambda case: distance(case) * (1 + float(torch.rand(()))))


def counting(context):
    calls = []
    return Metric(lambda case: calls.append(1) or distance(case) * len(calls))


def wrong_direction(context):
    return Metric(lambda case: -distance(case))


MUTANTS = {
    unstated_network: "networks",
    set_as_parameter: "plain_data",
    nan_as_parameter: "plain_data",
    tensor: "finite",
    infinite: "finite",
    needs_masks: "masks",
    random: "deterministic",
    counting: "deterministic",
    wrong_direction: "identical",
}


def metric_failures(build, only="", outcome="failed", **settings):
    spec = MetricSpec("mutant", build, "a metric", **{"against": "appearance"} | settings)
    return failures(MetricContract, only, outcome, spec=spec)


@pytest.mark.parametrize("build", MUTANTS, ids=lambda build: build.__name__)
def test_violated_metric_contract_is_detected(build):
    assert metric_failures(build, MUTANTS[build])


@pytest.mark.parametrize("name", ["structure", "appearance", "output", "structure_mask", "appearance_mask"])
def test_metric_that_modifies_an_input_is_detected(name):
    def value(case):
        getattr(case, name).mul_(0.5)
        return distance(case)

    reasons = metric_failures(lambda context: Metric(value), "not_modified")
    assert list(reasons.values()) == [f"the metric modifies the {name}"]


@pytest.mark.parametrize("setting", [{"better": "more"}, {"over": "all"}, {"against": "nothing"}, {"max_pairs": 0}])
def test_invalid_metric_spec_is_detected(setting):
    assert metric_failures(correct, "spec_is_complete", **setting)


def test_value_that_is_no_python_number_is_named():
    assert metric_failures(tensor, "finite") == {
        "test_value_is_finite": "the value is a Tensor; a metric returns an int or a float (.item() converts a scalar)"
    }


def test_network_that_a_metric_loads_again_is_loaded_once(monkeypatch):
    networks = []

    def load():
        networks.append(tiny_vit())
        return networks[-1]

    def build(context):
        return Metric(lambda case: float(context.load(context.backbone) is context.load(context.backbone)))

    monkeypatch.setattr("vitsplice.testing.metrics.tiny_vit", load)
    assert metric_failures(build, "finite") == {}
    assert len(networks) == 1


@pytest.mark.slow
def test_correct_metric_passes():
    assert metric_failures(correct) == {}
    assert metric_failures(lambda context: Metric(lambda cases: sum(map(distance, cases))), over="set") == {}


def test_checks_are_skipped_if_a_network_is_unavailable():
    def build(context):
        raise WeightsUnavailable("weights not installed")

    assert metric_failures(build) == {}
    assert "not installed" in metric_failures(build, outcome="skipped")["test_value_is_finite"]


@pytest.mark.parametrize("error", [UnknownName("no backbone"), WeightsUnavailable("no weights")])
def test_checks_are_skipped_if_a_network_that_is_loaded_later_is_unavailable(error):
    def value(case):
        raise error

    assert metric_failures(lambda context: Metric(value)) == {}
    assert metric_failures(lambda context: Metric(value), outcome="skipped")["test_value_is_finite"] == str(error)


def test_unknown_metric_fails_instead_of_being_skipped():
    class Unknown(MetricContract):
        name = "no-such-metric"

    (result,) = Unknown.run_checks("value_is_finite")
    assert result.outcome == "failed"
    assert "no metric 'no-such-metric'" in result.reason
