"""The runs of one opened page."""

import pytest
from vitsplice_app.transfer import history

from vitsplice.errors import ImageError, UserError


def ended(run):
    (run.path / "run.json").write_text("{}")
    return run


@pytest.fixture
def runs(session, new_run):
    """Two runs that have ended."""
    for _ in range(2):
        session.keep(ended(new_run()))
    return session.runs


def test_images_are_copied_under_their_own_names(new_run, sources):
    run = new_run(structure_mask=b"mask")
    assert run.images == {
        "structure": "images/structure/structure.png",
        "appearance": "images/appearance/appearance.png",
        "structure_mask": "images/structure_mask/mask.png",
    }
    assert (run.path / run.images["structure"]).read_bytes() == sources["structure"].read_bytes()


@pytest.mark.parametrize("name", ["structure", "appearance"])
def test_missing_image_is_named(new_run, name, tmp_path):
    with pytest.raises(UserError, match=f"no {name} image"):
        new_run(**{name: None})
    assert not (tmp_path / "run0").exists()


def test_unreadable_image_leaves_no_folder(new_run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        new_run(appearance=tmp_path / "broken.png")
    assert not (tmp_path / "run0").exists()


def test_image_that_cannot_be_copied_leaves_no_folder(new_run, tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        new_run(**{"x" * 300: b"mask"})
    assert not (tmp_path / "run0").exists()


def test_run_without_a_record_is_removed_and_its_number_is_used_again(session, new_run):
    run = new_run()
    session.keep(run)
    assert not session.runs
    assert not run.path.exists()
    assert new_run().number == run.number == 1


def test_latest_run_is_shown_and_a_second_one_is_compared(session, runs):
    assert session.shown == [runs[1]]
    session.choose(runs[0])
    assert session.shown == [runs[1], runs[0]]
    session.choose(runs[0])
    assert session.shown == [runs[0]]
    session.choose(runs[0])
    assert session.shown == [runs[0]]


def test_gallery_marks_the_run_that_was_chosen_last(session, runs, new_run):
    session.choose(runs[0])
    assert session.gallery() == (runs[::-1], 1)
    session.keep(ended(new_run()))
    latest_first, chosen = session.gallery()
    assert latest_first[chosen].number == 3


def test_gallery_without_runs_marks_none(session):
    assert session.gallery() == ([], None)


def test_resumed_run_keeps_its_number(session, runs):
    session.keep(session.runs[0])
    assert [run.number for run in session.runs] == [2, 1]
    assert [run.number for run in session.shown] == [1]


def test_oldest_runs_are_removed(session, new_run, monkeypatch):
    monkeypatch.setattr(history, "MAX_RUNS", 2)
    paths = []
    for number in range(3):
        run = ended(new_run())
        paths.append(run.path)
        removed = session.keep(run)
        assert len(session.runs) == min(2, number + 1)
    assert [old.path for old in removed] == paths[:1]
    assert [path.exists() for path in paths] == [False, True, True]
