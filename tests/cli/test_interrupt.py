import signal

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
