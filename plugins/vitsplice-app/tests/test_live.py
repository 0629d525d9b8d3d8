"""How often the state of a run is shown."""

import pytest
from vitsplice_app import live


@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_states_are_shown_at_a_bounded_rate(cost):
    now = [0.0]
    pace = live.Pace(clock=lambda: now[0])
    assert pace.due()
    began, now[0] = now[0], cost
    pace.shown(began)
    wait = max(live.MIN_INTERVAL, cost / live.MAX_SHARE)
    now[0] = cost + 0.99 * wait
    assert not pace.due()
    now[0] = cost + 1.01 * wait
    assert pace.due()
