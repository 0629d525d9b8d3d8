"""Arguments of events, and events that optimise: one at a time on the whole page, each with a button to stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitsplice_app.live import Progress

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


def checked_by_handler(component: gr.Slider | gr.Dropdown) -> None:
    """Give event handlers the value of a component that other events change, whatever its range or its choices are.

    Gradio would compare the value of an event that has waited with the range or the choices of now, and fail outside of
    the handler.
    """
    component.preprocess = lambda payload: payload  # type: ignore[method-assign]


@dataclass
class Work:
    """The optimisation of one opened page.

    Args:
        running: whether it runs, or waits in the queue.
        stopped: whether the user has asked to stop it.
    """

    running: bool = False
    stopped: bool = False


def stop_button() -> gr.Button:
    """Create a button that stops an optimisation; it can be pressed while one runs or waits, see `can_stop`."""
    return gr.Button("Stop", variant="stop", interactive=False, min_width=80)


def can_stop(running: bool) -> Any:
    """Return the update of a stop button when an optimisation has begun or ended."""
    return gr.update(value="Stop", interactive=running)


def connect_stop(stop: gr.Button, state: gr.State) -> None:
    """Connect a stop button with the state of the optimisation that it stops."""

    def ask(work: Work) -> None:
        work.stopped = True

    stop.click(None, None, stop, js=STOPPING, **IMMEDIATE)
    stop.click(ask, state, None, **IMMEDIATE)


def connect_start(
    starts: Sequence[gr.Button],
    stop: gr.Button,
    handler: Callable[..., Iterator[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
    ended: Callable[..., Any],
    shown: Sequence[Any],
) -> None:
    """Connect the button that starts an optimisation.

    From the click on, only the stop button can be pressed. An optimisation that was stopped while it waited does not
    begin.

    Args:
        starts: the button, and others that cannot be pressed while it runs or waits.
        stop: button that stops it.
        handler: generator. Its first argument is a `Work`, which must obey the request to stop.
        inputs: state of the work, and the components of the other arguments.
        outputs: components of the values of the handler.
        live: the one that shows the state, and the place in the queue.
        ended: function of the state that is called at the end, also after an error.
        shown: components of its values.
    """

    def begin(work: Work) -> list[Any]:
        work.running, work.stopped = True, False
        waiting = gr.update(value=Progress("waiting to start").html(), visible=True)
        return [waiting, can_stop(True), *[gr.update(interactive=False)] * len(starts)]

    def run(work: Work, *values: Any) -> Iterator[Any]:
        if not work.stopped:
            yield from handler(work, *values)

    def end(work: Work) -> Any:
        work.running = False
        return ended(work)

    start, state = starts[0], inputs[0]
    start.click(None, None, None, js=SHOW_OUTCOME, **IMMEDIATE)
    begun = start.click(begin, state, [live, stop, *starts], **IMMEDIATE)
    ran = begun.then(run, list(inputs), list(outputs), show_progress_on=live, **ONE_AT_A_TIME)
    for event in (ran.then, ran.failure):  # Gradio's client does not trigger the first if Gradio itself fails
        event(end, state, list(shown), **IMMEDIATE)


def connect_stoppable(
    start: gr.Button,
    stop: gr.Button,
    handler: Callable[..., Iterator[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
) -> None:
    """Connect the buttons of an optimisation without results that outlast it. See `connect_start`."""

    def ended(work: Work) -> list[Any]:
        return ["", can_stop(False), gr.update(interactive=True)]

    state = gr.State(Work())
    connect_start([start], stop, handler, [state, *inputs], outputs, live, ended, [live, stop, start])
    connect_stop(stop, state)
