"""Metrics that are wrong on purpose: the contract finds each, and names it."""

import pytest
import torch

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import WeightsUnavailable
from vitsplice.testing import MetricContract


def distance(case):
    return float((case.output.mean((2, 3)) - case.appearance.mean((2, 3))).abs().mean())


def right(context):
    return Metric(distance)


def silent(context):
    context.load(context.backbone)
    return Metric(distance)


def unwritable(context):
    return Metric(distance, parameters={"sizes": {1, 2}})


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


def upside_down(context):
    return Metric(lambda case: -distance(case))


BROKEN = {
    silent: "networks",
    unwritable: "plain_data",
    tensor: "finite_number",
    infinite: "finite_number",
    needs_masks: "no_figure",
    random: "same_again",
    counting: "same_again",
    upside_down: "nothing_is_better",
}


def verdicts(build, outcome, only="", **facts):
    spec = MetricSpec("mutant", build, "a metric", **{"against": "appearance"} | facts)
    contract = type("Of", (MetricContract,), {"spec": lambda self: spec})
    return {v.check: v.why for v in contract.verdicts(only) if v.outcome == outcome}


@pytest.mark.parametrize("build", BROKEN, ids=lambda build: build.__name__)
def test_a_wrong_metric_is_caught_and_named(build):
    assert verdicts(build, "broken", BROKEN[build])


@pytest.mark.parametrize("name", ["structure", "appearance", "output", "structure_mask", "appearance_mask"])
def test_one_that_writes_into_what_it_is_shown_is_caught(name):
    def value(case):
        getattr(case, name).mul_(0.5)
        return distance(case)

    found = verdicts(lambda context: Metric(value), "broken", "left_alone")
    assert list(found.values()) == [f"it writes into the {name}"]


def test_wrong_facts_are_caught():
    for fact in ({"better": "more"}, {"over": "all"}, {"against": "nothing"}, {"max_pairs": 0}):
        assert verdicts(right, "broken", "facts_are_whole", **fact)


def test_a_right_metric_breaks_nothing():
    assert verdicts(right, "broken") == {}
    assert verdicts(lambda context: Metric(lambda cases: sum(map(distance, cases))), "broken", over="set") == {}


def test_where_its_network_is_not_there_it_is_not_checked():
    def build(context):
        raise WeightsUnavailable("nowhere")

    assert verdicts(build, "broken") == {}
    assert "nowhere" in verdicts(build, "not checked")["test_a_finite_number"]
