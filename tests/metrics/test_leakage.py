from dataclasses import replace

import pytest

from vitsplice.contracts import Metric
from vitsplice.metrics.leakage import NetworkId, OptimisedParts, leakage

PARTS = OptimisedParts((NetworkId("tiny-vit", "ab"), NetworkId("tiny-cnn", "cd")), ("patches",))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (NetworkId("a", "1"), NetworkId("b", "1"), True),
        (NetworkId("a", "1"), NetworkId("a", "2"), False),
        (NetworkId("a", "1"), NetworkId("a"), True),
        (NetworkId("a", "1"), NetworkId("b"), False),
    ],
)
def test_networks_are_compared_by_weights_or_else_by_name(first, second, same):
    assert first.same(second) is second.same(first) is same


@pytest.mark.parametrize("sha256", ["ab", "cd"])
def test_leakage_by_any_of_the_networks_or_by_a_loss_term(vit, sha256):
    info = replace(vit.info, name="alias", sha256=sha256)
    metrics = (Metric(float, (info,)), Metric(float), Metric(float, optimised_by=("patches", "x")))
    assert [leakage(metric, PARTS) for metric in metrics] == ["network", "none", "term"]
    assert [leakage(metric, None) for metric in metrics] == ["unknown", "none", "unknown"]
    assert [leakage(metric, OptimisedParts()) for metric in metrics] == ["none", "none", "none"]
