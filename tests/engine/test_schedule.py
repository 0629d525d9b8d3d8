import pytest

from vitsplice.config import OptimiserConfig
from vitsplice.engine.schedule import learning_rate


def test_constant():
    assert {learning_rate(OptimiserConfig(lr=0.3), step, 10) for step in range(10)} == {0.3}


def test_cosine_falls_from_lr_through_half_towards_zero():
    config = OptimiserConfig(lr=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01
