"""Plugins that hang or change defaults of the process."""

import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import torch

from tests.plugins.conftest import GOOD, Shelf, record
from vitsplice.plugins import catalogue, loading
from vitsplice.plugins.discovery import InstalledPlugin
from vitsplice.plugins.sandbox import TookTooLong, process_defaults_restored, time_limit


def test_hanging_plugin_is_dropped_after_the_time_limit() -> None:
    hanging = InstalledPlugin("hanging", "vitsplice-hanging", "1", lambda: time.sleep(60))
    start = time.monotonic()
    loaded = loading.load(hanging, 0.2)
    assert time.monotonic() - start < 5
    assert "loading it took more than 0.2 seconds" in str(loaded.record.failure)


def test_hanging_plugin_that_catches_exceptions_is_interrupted() -> None:
    def stubborn() -> None:
        try:
            time.sleep(60)
        except Exception:
            time.sleep(60)

    loaded = loading.load(InstalledPlugin("stubborn", "vitsplice-stubborn", "1", stubborn), 0.2)
    assert "loading it took more than" in str(loaded.record.failure)


def test_time_limit_has_no_effect_outside_the_main_thread() -> None:
    finished = []

    def work() -> None:
        with time_limit(0.01):
            time.sleep(0.05)
        finished.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert finished


def test_time_limit_leaves_no_alarm() -> None:
    with time_limit(0.05):
        pass
    time.sleep(0.1)


def test_time_limit_is_raised_in_the_block() -> None:
    with pytest.raises(TookTooLong), time_limit(0.05):
        time.sleep(1)


def test_time_limit_continues_a_timer_of_the_host() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 300)
    try:
        with time_limit(5):
            pass
        assert 290 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 300
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


CHANGES = {
    "torch's random state": "import torch; torch.manual_seed(3)",
    "torch's default dtype": "import torch; torch.set_default_dtype(torch.float64)",
    "torch's gradient mode": "import torch; torch.set_grad_enabled(False)",
    "torch's number of threads": "import torch; torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch's default device": "import torch; torch.set_default_device('meta')",
    "torch's deterministic mode": "import torch; torch.use_deterministic_algorithms(True)",
    "Python's random state": "import random; random.seed(1)",
    "numpy's random state": "import numpy; numpy.random.seed(1)",
}


def process_defaults() -> tuple[object, ...]:
    return (
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
    )


@pytest.mark.parametrize("default", CHANGES)
def test_process_defaults_changed_by_a_plugin_are_restored_with_a_note(shelf: Shelf, default: str) -> None:
    before = process_defaults()
    shelf.add("good", CHANGES[default] + "\n" + GOOD)
    assert record("good").notes == (f"it changed {default}, which was restored",)
    assert "clip-vitb16" in catalogue().backbones
    assert process_defaults() == before


def test_deterministic_mode_that_only_warns_is_restored() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with process_defaults_restored([]):
            torch.use_deterministic_algorithms(False)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_code_that_changes_no_defaults_is_not_reported() -> None:
    changed: list[str] = []
    with process_defaults_restored(changed):
        torch.rand(3, generator=torch.Generator().manual_seed(0))
    assert changed == []


def test_concurrent_loading_restores_standard_output() -> None:
    before = sys.stdout

    def load_after(seconds: float) -> None:
        time.sleep(seconds)
        loading.load(InstalledPlugin("slow", "vitsplice-slow", "1", lambda: time.sleep(0.2)))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load_after, (0, 0.1)))
    assert sys.stdout is before


def test_random_state_advanced_by_another_thread_is_not_restored() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(2)
        torch.manual_seed(5)
        with process_defaults_restored([]):
            thread = threading.Thread(target=torch.rand, args=(1,))
            thread.start()
            thread.join()
        assert torch.equal(torch.rand(1), expected[1:])


def test_default_changed_by_the_first_plugin_that_imports_torch_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as before the first import
    changed: list[str] = []
    with torch.random.fork_rng():
        with process_defaults_restored(changed):
            sys.modules["torch"] = torch
            torch.manual_seed(3)
            torch.set_default_dtype(torch.float64)
        restored = torch.get_rng_state()
    assert sorted(changed) == ["torch's default dtype", "torch's random state"]
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(restored, torch.Generator().get_state())
