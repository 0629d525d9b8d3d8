"""Arguments of events, and events that optimise: one at a time on the server, each with a button to stop it."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
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


def disable_gradio_check(component: gr.Slider | gr.Dropdown) -> None:
    """Disable Gradio's check of the value of a component whose range or choices other events change.

    Gradio would check a value that waited in the queue against the new range or choices, and fail outside the handler.
    """
    component.__class__ = _unchecked(type(component))


@cache
def _unchecked(component_class: type) -> type:
    """Return a subclass of a component's class without the check.

    An event that updates a property replaces the component by a new one of its class, so that a method of the instance
    would be lost. Gradio's metaclass is bypassed, because it writes a file beside that of each new class.
    """
    attributes = {"__module__": __name__, "is_template": True, "preprocess": lambda component, payload: payload}
    name = f"Unchecked{component_class.__name__}"
    return ABCMeta.__new__(type(component_class), name, (component_class,), attributes)


@dataclass
class Work:
    """State of the optimisation of a tab of one opened page.

    It is mutable: all handlers of the page get the same object, so that a running one sees ``stopped``.

    Args:
        running: True while it runs, or waits in the queue.
        stopped: True after the user has asked to stop it.
    """

    running: bool = False
    stopped: bool = False

    def begin(self) -> None:
        """Record the click that starts it; it may wait in the queue."""
        self.running, self.stopped = True, False


def stop_button() -> gr.Button:
    """Create a button that stops an optimisation; `stop_button_update` enables it while one runs or waits."""
    return gr.Button("Stop", variant="stop", interactive=False, min_width=80)


def stop_button_update(running: bool) -> Any:
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
        handler: generator function. Its first argument is the `Work`; it ends soon after `Work.stopped` becomes True.
        inputs: state of the work, and the components of the other arguments.
        outputs: components that the values of the handler update.
        live: component that shows the progress, and the position in the queue.
        ended: function of the `Work` that is called at the end, also after an error; its values update ``shown``.
        shown: components that ``ended`` updates.
    """

    def begin(work: Work) -> list[Any]:
        work.begin()
        waiting = gr.update(value=Progress("waiting to start").html(), visible=True)
        return [waiting, stop_button_update(True), *[gr.update(interactive=False)] * len(starts)]

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


def connect_start_and_stop(
    start: gr.Button,
    stop: gr.Button,
    handler: Callable[..., Iterator[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
) -> None:
    """Connect the buttons of an optimisation whose end only clears ``live``; arguments as for `connect_start`."""

    def ended(work: Work) -> list[Any]:
        return ["", stop_button_update(False), gr.update(interactive=True)]

    state = gr.State(Work())
    connect_start([start], stop, handler, [state, *inputs], outputs, live, ended, [live, stop, start])
    connect_stop(stop, state)
