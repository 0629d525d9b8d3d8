import json

import pytest

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.plan import WORK, Plan, told
from vitsplice.metrics.values import BuiltMetrics


@pytest.fixture
def wanted(pairs, tmp_path, vit):
    spec = MetricSpec("mine", lambda context: None, "mine")
    built = BuiltMetrics(((spec, Metric(float, (vit.info,), {"sizes": (1, 2), "path": tmp_path})),), {})
    return told(Plan(pairs, (Method("m", tmp_path),)), built, "cpu")


def test_a_plan_says_all_that_metrics_depend_on(wanted, vit):
    assert json.loads(json.dumps(wanted)) == wanted
    assert wanted["metrics"]["mine"]["networks"] == [{"name": "tiny-vit", "sha256": vit.info.sha256}]
    assert wanted["metrics"]["mine"]["facts"]["sizes"] == [1, 2]
    assert {"torch", "vitsplice"} <= set(wanted["versions"])
    assert set(WORK.part_keys) < set(wanted)


def test_methods_have_names_of_their_own(pairs, tmp_path):
    with pytest.raises(UserError, match="at least one method"):
        Plan(pairs, ())
    with pytest.raises(UserError, match="'m' is given twice"):
        Plan(pairs, (Method("m", tmp_path), Method("m", tmp_path)))
    with pytest.raises(UserError, match="'x', which is no method"):
        Plan(pairs, (Method("m", tmp_path),), optimised={"x": "none"})
