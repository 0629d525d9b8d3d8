import signal

import pytest

from vitsplice.cli.interrupt import SIGNALS, Interrupt


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupt() as interrupt:
        assert [signal.getsignal(number) for number in SIGNALS] == [interrupt._handle] * 2
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_handler_that_python_did_not_set_becomes_the_default(monkeypatch):
    handlers = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(handler))  # returns None
    with Interrupt():
        handlers.clear()
    assert handlers == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_that_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(number)
        assert not interrupt.requested
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
