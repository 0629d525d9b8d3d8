import pytest

from vitsplice.support.step_rate import WINDOW, StepRate


def rate_after(durations):
    """Return a `StepRate` after steps of these durations in seconds; its clock advances by these durations only."""
    now = 0.0
    rate = StepRate(lambda: now)
    for duration in durations:
        now += duration
        rate.step_done()
    return rate


@pytest.mark.parametrize("durations", [[], [9.0], [9.0, 7.0]])
def test_rate_is_unknown_during_the_warm_up(durations):
    rate = rate_after(durations)
    assert rate.seconds is None
    assert rate.timed == 0


def test_slow_first_steps_do_not_count():
    rate = rate_after([15.0, 6.0, 5.0, 5.0])
    assert rate.seconds == 5.0
    assert rate.timed == 2


def test_rate_is_the_mean_of_steps_of_unequal_cost():
    assert rate_after([9.0, 9.0, *[1.0, 1.0, 4.0] * 5]).seconds == pytest.approx(2.0)


def test_rate_follows_recent_steps():
    rate = rate_after([1.0] * 100 + [3.0] * WINDOW)
    assert rate.seconds == pytest.approx(3.0)
    assert rate.timed == WINDOW


def test_time_spent_on_something_else_is_left_out():
    now = 0.0
    rate = StepRate(lambda: now)
    for duration in (5.0, 5.0, 2.0):
        now += duration
        rate.step_done()
    now += 100.0
    rate.leave_out(100.0)
    now += 2.0
    rate.step_done()
    assert rate.seconds == 2.0
