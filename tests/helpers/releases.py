"""Runs that must be freed before the next one is built."""

import weakref

import vitsplice


def expect_released_runs(monkeypatch, module):
    """Replace ``Run`` in a module by a class that refuses a new run while an earlier run exists.

    Returns the list of weak references to the runs.
    """
    runs = []

    class Run(vitsplice.Run):
        def __init__(self, *arguments, **settings):
            assert all(run() is None for run in runs)
            super().__init__(*arguments, **settings)
            runs.append(weakref.ref(self))

    monkeypatch.setattr(module, "Run", Run)
    return runs
