import pytest
import torch

from vitsplice.errors import OutputExists
from vitsplice.presets.settings import settings_for
from vitsplice.runs import result
from vitsplice.runs.artifacts import RECORD
from vitsplice.runs.result import Result
from vitsplice.support.output_folder import FolderLock


def black():
    return Result(pixels=torch.zeros(3, 4, 4), losses=(), settings=settings_for("tiny"), record={}, finished=True)


def test_results_can_be_compared_and_hashed():
    first, second = black(), black()
    assert first == first
    assert first != second
    assert len({first, second}) == 2


def test_run_that_another_process_saves_before_the_lock_is_not_replaced(tmp_path, monkeypatch):
    def lock_late(folder):
        (folder / RECORD).write_text("{}")
        return FolderLock(folder)

    monkeypatch.setattr(result, "FolderLock", lock_late)
    with pytest.raises(OutputExists, match="already holds a run"):
        black().save(tmp_path)
    assert (tmp_path / RECORD).read_text() == "{}"
