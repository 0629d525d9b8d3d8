import errno
import json

import pytest

from tests.study.conftest import make_plan
from vitsplice.errors import UserError, VitspliceError
from vitsplice.study import page as page_module
from vitsplice.study.build import StudySettings, build_study
from vitsplice.study.plan import plan_path, read_plan
from vitsplice.support import output_folder
from vitsplice.support.files import write_atomically


@pytest.fixture(scope="module")
def written(make_images, tmp_path_factory):
    """Plan of a study that was written, and the path of the plan's file."""
    page = build_study(*make_images(3, ("a", "b")), StudySettings(checks=1))
    path = tmp_path_factory.mktemp("plan") / "study.html"
    page.write(path)
    return page.plan, plan_path(path)


def test_plan_is_read_as_it_was_written(written):
    plan, path = written
    assert path.name == "study.plan.json"
    assert read_plan(path) == plan
    assert plan.trials_with_checks == 4


def test_page_that_cannot_be_written_leaves_the_earlier_page_and_its_plan(make_images, tmp_path, monkeypatch):
    path = tmp_path / "study.html"
    earlier, other = (build_study(*make_images(2, methods), StudySettings(checks=0)) for methods in ("ab", "cd"))
    earlier.write(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def disk_full(file, data):
        if len(data) > len(other.plan.to_bytes()):  # larger than the plan: the page
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(file, data)

    for module in (page_module, output_folder):
        monkeypatch.setattr(module, "write_atomically", disk_full)
    with pytest.raises(VitspliceError, match=r"cannot write .*study\.html: No space left on device"):
        other.write(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_page_of_any_name_is_written_and_links_are_followed(make_images, tmp_path):
    study = build_study(*make_images(2, "ab"), StudySettings(checks=0))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked.html").symlink_to(tmp_path / "elsewhere" / "page.html")
    for name in ("linked.html", "back\\slash.html", "narrow\u202fspace.html"):
        study.write(tmp_path / name)
        assert read_plan(plan_path(tmp_path / name)) == study.plan
    assert (tmp_path / "elsewhere" / "page.html").read_text() == study.render()


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
    with pytest.raises(UserError, match="does not exist"):
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
