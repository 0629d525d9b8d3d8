"""Runs that must be freed before the next one is built."""

import weakref

import vitsplice


def expect_released_runs(monkeypatch, target):
    """Replace ``Run`` of a module by one that fails while an earlier one exists; return the list of built ones."""
    runs = []

    class Run(vitsplice.Run):
        def __init__(self, *arguments, **settings):
            assert all(run() is None for run in runs)
            super().__init__(*arguments, **settings)
            runs.append(weakref.ref(self))

    monkeypatch.setattr(target, "Run", Run)
    return runs
