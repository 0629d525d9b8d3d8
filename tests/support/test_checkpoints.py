"""Checkpoints of any kind of work."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vitsplice.errors import CheckpointRejected
from vitsplice.support.checkpoints import CheckpointFormat, checkpoint_files, folder_and_checkpoint, remove_checkpoints


def format_of(**options):
    return CheckpointFormat("work", 1, lambda content, tensors: tensors, **options)


def test_tensors_that_share_memory_are_stored_separately(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": shared, "b": shared, "c": shared[1], "d": torch.ones(2)}
    format_of().write(tmp_path, 1, {}, {}, tensors)
    stored = load_file(tmp_path / "step-00000001.safetensors")
    assert stored.keys() == tensors.keys()
    assert all(torch.equal(stored[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(("selectable", "advice"), [(True, "resume with resume="), (False, "valid; remove ")])
def test_advice_for_a_damaged_checkpoint_is_what_the_work_offers(tmp_path, selectable, advice):
    checkpoints = format_of(selectable=selectable)
    for step in (1, 2):
        checkpoints.write(tmp_path, step, {}, {}, {"a": torch.zeros(1)})
    (tmp_path / "step-00000002.json").write_text("{")
    with pytest.raises(CheckpointRejected, match=advice):
        checkpoints.read_last(tmp_path)


def test_the_last_two_checkpoints_are_kept_and_incomplete_ones_removed(tmp_path):
    (tmp_path / "step-00000001.safetensors").write_bytes(b"without its JSON")
    for step in (200, 300, 400):
        format_of().write(tmp_path, step, {}, {}, {"a": torch.zeros(1)})
    assert [path.stem for path in checkpoint_files(tmp_path)] == ["step-00000400", "step-00000300"]
    assert len(list(tmp_path.iterdir())) == 4  # JSON and tensors of each


def test_checkpoints_of_later_steps_are_removed_when_resumed_work_writes_one(tmp_path):
    for step in (100, 200, 300):
        format_of().write(tmp_path, step, {}, {}, {"a": torch.zeros(1)})
    truncated = tmp_path / "step-00000300.json"
    truncated.write_text("{")
    format_of().write(tmp_path, 250, {}, {}, {"a": torch.ones(1)})
    assert [path.stem for path in checkpoint_files(tmp_path)] == ["step-00000250", "step-00000200"]
    assert format_of().read_last(tmp_path)[0]["a"].item() == 1


def test_checkpoint_is_written_although_older_ones_cannot_be_removed(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        for step in (1, 2, 3):
            format_of().write(tmp_path, step, {}, {}, {"a": torch.full((1,), float(step))})
    assert len(checkpoint_files(tmp_path)) == 3
    assert format_of().read_last(tmp_path)[0]["a"].item() == 3


@pytest.mark.parametrize(
    ("given", "folder", "checkpoint"),
    [
        ("out", "out", None),
        ("out/run.json", "out/run.json", None),
        ("out/checkpoint/step-00000002.safetensors", "out/checkpoint/step-00000002.safetensors", None),
        ("out/checkpoint/step-00000002.json", "out", "out/checkpoint/step-00000002.json"),
    ],
)
def test_only_a_json_file_of_a_step_is_taken_for_a_checkpoint(tmp_path, given, folder, checkpoint):
    expected = tmp_path / folder, checkpoint and tmp_path / checkpoint
    assert folder_and_checkpoint(tmp_path / given) == expected


def test_folder_of_a_checkpoint_is_found_where_dots_follow_a_link(tmp_path):
    (tmp_path / "deep" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "sub")
    folder, _ = folder_and_checkpoint(tmp_path / "link" / ".." / "out" / "checkpoint" / "step-00000002.json")
    assert folder == tmp_path / "deep" / "out"


def test_removal_that_is_killed_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    for step in (1, 2):
        format_of().write(tmp_path, step, {}, {}, {"a": torch.zeros(1)})
    unlink, removed = Path.unlink, []

    def killed_after_two(path, missing_ok=False):
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            remove_checkpoints(tmp_path)
    assert removed == ["step-00000001.json", "step-00000001.safetensors"]
    (tmp_path / "step-00000003.safetensors").write_bytes(b"without its JSON")
    remove_checkpoints(tmp_path)
    assert not tmp_path.exists()
