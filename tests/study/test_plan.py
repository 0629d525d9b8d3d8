import json

import pytest

from tests.study.conftest import plan_of
from vitsplice.errors import UserError
from vitsplice.study import page, plan
from vitsplice.study.make import Settings, make


@pytest.fixture(scope="module")
def written(drawn, tmp_path_factory):
    """A study of which the page and the plan were written, and the path of the plan."""
    study = make(*drawn(3, ("a", "b")), Settings(checks=1))
    path = tmp_path_factory.mktemp("plan") / "study.html"
    page.write(path, study)
    return study, plan.beside(path)


def test_the_plan_beside_the_page_is_what_the_page_has(written):
    study, path = written
    assert path.name == "study.plan.json"
    assert json.loads(path.read_bytes()) == study.key
    found = plan.read(path)
    assert (found.study, found.digest, found.planned) == (study.key["study"], study.key["digest"], 4)


@pytest.mark.parametrize(
    "change",
    [
        {"methods": ["a", "c"]}, {"trials": 2}, {"checks": []}, {"question": "Q?"}, {"seed": 1}, {"digest": "0" * 64},
        {"study": "0" * 16},
    ],
)  # fmt: skip
def test_a_plan_that_was_changed_is_refused(written, tmp_path, change):
    (tmp_path / "p.plan.json").write_text(json.dumps(written[0].key | change))
    with pytest.raises(UserError, match="was changed after it was written"):
        plan.read(tmp_path / "p.plan.json")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"seed": NaN}', b'{"kind": "vitsplice study result"}']
)
def test_a_file_that_is_no_plan_is_refused(tmp_path, data):
    (tmp_path / "p.json").write_bytes(data)
    with pytest.raises(UserError, match=r"p\.json is no plan of a study"):
        plan.read(tmp_path / "p.json")
    with pytest.raises(UserError, match="cannot read the plan"):
        plan.read(tmp_path / "none.json")


def test_the_digest_depends_on_methods_pairs_trials_and_checks():
    plans = [plan_of(), plan_of(4), plan_of(methods=("a", "c")), plan_of(trials=2), plan_of(checks=1), plan_of(sets=2)]
    assert len({one.digest for one in plans}) == len(plans)
    assert plan_of().digest == plans[0].digest
