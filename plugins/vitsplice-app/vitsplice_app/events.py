"""Arguments of events, and events that optimise: one at a time on the whole page, each with a button to stop it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

IMMEDIATE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""Arguments of every event that takes little time.

Such an event must not be queued: Gradio's client closes the stream of results when the last queued event ends, and
loses the result of an event that is queued at that moment, such as that of the button that is pressed next.
"""

ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "optimisation", "concurrency_limit": 1}
"""Arguments of every event that optimises."""

SHOW_OUTCOME = """() => {
    const column = [...document.querySelectorAll('.outcome')].find((element) => element.offsetParent);
    const top = column.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 2) column.scrollIntoView();
}"""
"""Script that scrolls to the results of the open tab, a column of the class ``outcome``, if they are not in view."""

STOPPING = "() => ({__type__: 'update', value: 'Stopping…', interactive: false})"
"""Script of a stop button, which says at once that it was pressed: the server may be busy until the step ends."""


@dataclass
class StopRequest:
    """Request of the user of one opened page to stop what runs."""

    stopped: bool = False


def stop_button() -> gr.Button:
    """Create a button that stops an optimisation; it can be pressed while one runs, see `can_stop`."""
    return gr.Button("Stop", variant="stop", interactive=False, min_width=80)


def can_stop(running: bool) -> Any:
    """Return the update of a stop button when an optimisation has begun or ended."""
    return gr.update(value="Stop", interactive=running)


def connect_stop(stop: gr.Button, ask: Callable[..., Any], state: gr.State) -> None:
    """Connect a stop button with a function of the state that asks to stop, and returns nothing."""
    stop.click(None, None, stop, js=STOPPING, **IMMEDIATE)
    stop.click(ask, state, None, **IMMEDIATE)


def connect_stoppable(
    start: gr.Button,
    stop: gr.Button,
    handler: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
) -> None:
    """Connect the buttons of an optimisation.

    Args:
        start: button that starts it; it cannot be pressed while it runs or waits.
        stop: button that stops it.
        handler: event handler. Its first argument is a `StopRequest`, which it must obey; the others are the inputs.
        inputs: components of its other arguments.
        outputs: components of its values.
        live: the one that shows the place in the queue.
    """
    state = gr.State(StopRequest())

    def begin(request: StopRequest) -> list[Any]:
        request.stopped = False
        return [gr.update(interactive=False), can_stop(True)]

    def end() -> list[Any]:
        return [gr.update(interactive=True), can_stop(False)]

    def ask(request: StopRequest) -> None:
        request.stopped = True

    start.click(None, None, None, js=SHOW_OUTCOME, **IMMEDIATE)
    begun = start.click(begin, state, [start, stop], **IMMEDIATE)
    shown = {"show_progress_on": live} | ONE_AT_A_TIME
    ended = begun.then(handler, [state, *inputs], list(outputs), **shown)
    ended.then(end, None, [start, stop], **IMMEDIATE)
    connect_stop(stop, ask, state)
