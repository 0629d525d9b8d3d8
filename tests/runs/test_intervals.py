from vitsplice.config import CheckpointConfig
from vitsplice.runs.intervals import CheckpointTimer, preview_is_due


def test_previews_are_due_at_step_0_early_and_at_every_interval():
    due = [taken for taken in range(160) if preview_is_due(taken, 50)]
    assert due == [0, 10, 25, 50, 100, 150]
    assert [taken for taken in range(13) if preview_is_due(taken, 4)] == [0, 4, 8, 12]
    assert not any(preview_is_due(taken, 0) for taken in range(100))


def test_checkpoints_by_time_take_at_most_one_percent_of_the_run(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("vitsplice.runs.intervals.perf_counter", lambda: clock[0])
    timer = CheckpointTimer(CheckpointConfig(every=0, seconds=30))
    clock[0] = 29
    assert not timer.due(1)
    clock[0] = 31
    assert timer.due(2)
    with timer.writing():
        clock[0] = 36  # writing takes 5 s, 1 % of 500 s
    clock[0] = 36 + 499
    assert not timer.due(3)
    clock[0] = 36 + 501
    assert timer.due(4)


def test_checkpoints_by_steps_are_due_at_every_interval():
    assert CheckpointTimer(CheckpointConfig(every=3, seconds=0)).due(6)
    assert not CheckpointTimer(CheckpointConfig(every=3, seconds=0)).due(7)
