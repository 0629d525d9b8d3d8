import json

import pytest

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import OutputBusy, OutputExists, UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.plan import PLAN, SETS, VALUES, Built, Plan, folder, told


@pytest.fixture
def wanted(pairs, tmp_path, vit):
    spec = MetricSpec("mine", lambda context: None, "mine")
    built = Built(((spec, Metric(float, (vit.info,), {"sizes": (1, 2), "path": tmp_path})),), {})
    return told(Plan(pairs, (Method("m", tmp_path),)), built, "cpu")


def test_a_plan_says_all_that_figures_depend_on(wanted, vit):
    assert json.loads(json.dumps(wanted)) == wanted
    assert wanted["metrics"]["mine"]["networks"] == [{"name": "tiny-vit", "sha256": vit.info.sha256}]
    assert wanted["metrics"]["mine"]["facts"]["sizes"] == [1, 2]
    assert {"torch", "vitsplice"} <= set(wanted["versions"])


def test_the_same_plan_keeps_what_is_finished(wanted, tmp_path):
    for _ in range(2):
        with folder(tmp_path / "out", wanted, force=False) as path:
            (path / VALUES).touch()
    assert (path / VALUES).exists()
    assert json.loads((path / PLAN).read_text()) == wanted
    assert sorted(p.name for p in path.iterdir()) == [PLAN, VALUES]


@pytest.mark.parametrize(
    ("part", "value", "kept"),
    [
        ("pairs", {}, True),
        ("methods", {}, True),
        ("metrics", {}, False),
        ("versions", {}, False),
        ("device", "x", False),
    ],
)
def test_another_plan_is_refused_and_forced_keeps_only_figures_that_still_hold(wanted, tmp_path, part, value, kept):
    with folder(tmp_path / "out", wanted, force=False) as path:
        (path / VALUES).touch()
        (path / SETS).touch()
    other = wanted | {part: value}
    with pytest.raises(OutputExists, match=f"it differs in {part}"), folder(path, other, force=False):
        pass
    with folder(path, other, force=True):
        assert (path / VALUES).exists() is (path / SETS).exists() is kept


def test_a_plan_that_cannot_be_read_is_another(wanted, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PLAN).write_text("[")
    with pytest.raises(OutputExists, match="cannot be read"), folder(tmp_path / "out", wanted, force=False):
        pass


def test_files_of_something_else_are_not_written_over(wanted, tmp_path):
    (tmp_path / "summary.md").write_text("mine")
    with pytest.raises(OutputExists, match=r"summary\.md"), folder(tmp_path, wanted, force=False):
        pass
    assert (tmp_path / "summary.md").read_text() == "mine"
    assert not (tmp_path / PLAN).exists()


def test_one_process_at_a_time(wanted, tmp_path):
    with (
        folder(tmp_path / "out", wanted, force=False) as path,
        pytest.raises(OutputBusy),
        folder(path, wanted, force=False),
    ):
        pass


def test_methods_have_names_of_their_own(pairs, tmp_path):
    with pytest.raises(UserError, match="at least one method"):
        Plan(pairs, ())
    with pytest.raises(UserError, match="'m' is given twice"):
        Plan(pairs, (Method("m", tmp_path), Method("m", tmp_path)))
    with pytest.raises(UserError, match="'x', which is no method"):
        Plan(pairs, (Method("m", tmp_path),), optimised={"x": "none"})
