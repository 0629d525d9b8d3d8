import json

import pytest

from tests.study.conftest import make_plan
from vitsplice.errors import UserError
from vitsplice.study.build import StudySettings, build_study
from vitsplice.study.plan import plan_path, read_plan


@pytest.fixture(scope="module")
def written(make_images, tmp_path_factory):
    """A study that was written, and the path of its plan."""
    page = build_study(*make_images(3, ("a", "b")), StudySettings(checks=1))
    path = tmp_path_factory.mktemp("plan") / "study.html"
    page.write(path)
    return page.plan, plan_path(path)


def test_plan_is_read_as_it_was_written(written):
    plan, path = written
    assert path.name == "study.plan.json"
    assert read_plan(path) == plan
    assert plan.trials_with_checks == 4


@pytest.mark.parametrize(
    "change",
    [
        {"methods": ["a", "c"]}, {"trials": 2}, {"checks": []}, {"question": "Q?"}, {"seed": 1}, {"digest": "0" * 64},
        {"study": "0" * 16},
    ],
)  # fmt: skip
def test_changed_plan_is_refused(written, tmp_path, change):
    (tmp_path / "p.plan.json").write_text(json.dumps(written[0].data() | change))
    with pytest.raises(UserError, match="was changed after it was written"):
        read_plan(tmp_path / "p.plan.json")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"seed": NaN}', b'{"kind": "vitsplice study result"}']
)
def test_other_file_is_refused(tmp_path, data):
    (tmp_path / "p.json").write_bytes(data)
    with pytest.raises(UserError, match=r"p\.json is not the plan of a study"):
        read_plan(tmp_path / "p.json")
    with pytest.raises(UserError, match="cannot read "):
        read_plan(tmp_path / "none.json")


def test_plan_of_another_format_names_the_version_to_use(written, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(written[0].data() | {"schema": 1}))
    with pytest.raises(UserError, match="schema: is 1, and this version reads 2; use the version of vitsplice that"):
        read_plan(tmp_path / "p.json")


def test_digest_depends_on_methods_pairs_trials_and_checks():
    changes = [{}, {"pairs": 4}, {"methods": ("a", "c")}, {"trials": 2}, {"checks": 1}, {"sets": 2}]
    digests = {make_plan(**change).digest for change in changes}
    assert len(digests) == len(changes)
    assert make_plan().digest in digests
