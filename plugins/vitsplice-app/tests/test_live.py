"""How often the state of a run is shown."""

from types import SimpleNamespace

import pytest
import torch
from vitsplice_app import live


@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_states_are_shown_at_a_bounded_rate(cost, monkeypatch):
    def pixels():
        now[0] += cost
        return torch.zeros(3, 8, 8)

    now = [0.0]
    monkeypatch.setattr(live, "perf_counter", lambda: now[0])
    settings = SimpleNamespace(steps=9, terms={})
    run = SimpleNamespace(pixels=pixels, history=[], settings=settings, substitutions={})
    display = live.Display(run)
    assert display.step_done()
    display.state("optimising")
    wait = max(live.MIN_INTERVAL, cost / live.MAX_SHARE)
    now[0] = cost + 0.99 * wait
    assert not display.step_done()
    now[0] = cost + 1.01 * wait
    assert display.step_done()
