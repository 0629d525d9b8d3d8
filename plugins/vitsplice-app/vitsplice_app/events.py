"""Arguments of events, and events of long work: transfers, inversions and comparisons.

The server does one piece of long work at a time; other work waits in the queue. A button stops work that runs or waits.
Work that is stopped while it waits stays in the queue, and ends as soon as its turn comes.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import gradio as gr

from vitsplice.errors import UserError
from vitsplice_app.errors import card_html
from vitsplice_app.live import Progress

IMMEDIATE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""Arguments of events that take little time.

Such an event must not be queued: Gradio's client closes the stream of results when the last queued event ends. If
another button is pressed at that moment, the client loses the result of that button's event.
"""

ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "optimisation", "concurrency_limit": 1}
"""Arguments of the events of long work."""

SHOW_OUTCOME = """() => {
    const column = [...document.querySelectorAll('.outcome')].find((element) => element.offsetParent);
    const top = column.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 2) column.scrollIntoView();
}"""
"""Script that scrolls to the results of the open tab: the visible element of the class ``outcome``.

It does not scroll if the top of the element is in the upper half of the window.
"""

NOT_SHOWN = "<p role='alert'>The result cannot be shown; the terminal of vitsplice app shows the reason.</p>"
"""Text in place of a result of long work that cannot be shown."""

FAILED = card_html(
    UserError(
        "the work could not begin, or its progress could not be shown; another message on this page or the terminal of "
        "vitsplice app shows the reason"
    )
)
"""Card for long work that fails outside of its handler.

The queue is full, or Gradio refuses an input of the work or cannot show an output.
"""

STOPPING = "() => ({__type__: 'update', value: 'Stopping…', interactive: false})"
"""Script that shows at once that a stop button was pressed: the server may be busy until the current step ends."""


def disable_gradio_check(component: gr.Slider | gr.Dropdown | gr.Radio) -> None:
    """Disable Gradio's check of a component's value, for a component whose range or choices other events change.

    Gradio would check a value that waited in the queue against the new range or choices, and fail outside the handler.
    """
    component.__class__ = _unchecked(type(component))


@cache
def _unchecked(component_class: type) -> type:
    """Return a subclass of a component's class without the check of its value.

    Replacing the method of one component would not suffice: an event that updates a property replaces the component
    by a new one of its class. Gradio's metaclass is bypassed, because for each new class it writes a ``.pyi`` file.
    """
    # is_template: Gradio's client gets the name of the parent class, and shows the component as before
    attributes = {"__module__": __name__, "is_template": True, "preprocess": lambda component, payload: payload}
    name = f"Unchecked{component_class.__name__}"
    return ABCMeta.__new__(type(component_class), name, (component_class,), attributes)


@dataclass
class Work:
    """State of the long work that one tab of one opened page has started.

    It is mutable: all handlers of the page get the same object, so that a running handler sees ``stopped``.

    Args:
        running: True while the work runs, or waits in the queue.
        stopped: True after the user has asked to stop the work.
    """

    running: bool = False
    stopped: bool = False

    def begin(self) -> None:
        """Record a click on the button that starts the work, which may first wait in the queue."""
        self.running, self.stopped = True, False


def stop_button() -> gr.Button:
    """Create a button that stops long work; `stop_button_update` enables the button while the work runs or waits."""
    return gr.Button("Stop", variant="stop", interactive=False, min_width=80)


def stop_button_update(running: bool) -> Any:
    """Return the update that enables a stop button if work runs or waits (``running``), and disables it otherwise."""
    return gr.update(value="Stop", interactive=running)


def connect_stop(stop: gr.Button, state: gr.State) -> None:
    """Connect a stop button with the state (`Work`) of the work that the button stops."""

    def request_stop(work: Work) -> None:
        work.stopped = True

    stop.click(None, None, stop, js=STOPPING, **IMMEDIATE)
    stop.click(request_stop, state, None, **IMMEDIATE)


def connect_start(
    start: gr.Button,
    blocked: Sequence[gr.Button],
    stop: gr.Button,
    handler: Callable[..., Iterator[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
    on_end: Callable[..., Any],
    end_outputs: Sequence[Any],
) -> None:
    """Connect a button that starts long work.

    From the click to the end of the work, ``start`` and ``blocked`` cannot be pressed, but ``stop`` can. Work that was
    stopped while it waited in the queue does not begin when its turn comes.

    The click returns the same `Work` as the new value of its state: Gradio calls the ``delete_callback`` only of states
    that an event has returned, an hour after the latest such event if the page is closed by then.

    Args:
        start: button that starts the work.
        blocked: other buttons that cannot be pressed while the work runs or waits.
        stop: button that stops the work; it is connected by `connect_stop`.
        handler: generator function that does the work. Its first argument is the `Work`; it must end soon after
            `Work.stopped` becomes True.
        inputs: state with the `Work`, then the components whose values are the other arguments of ``handler``.
        outputs: components that the values of ``handler`` update. The first one is the card of the tab; if the work
            fails outside of ``handler``, the card shows `FAILED`.
        live: component that shows the progress, and the position in the queue.
        on_end: function of the `Work` that is called at the end, also after an error. It returns the updates of
            ``end_outputs``, which must enable the buttons again. If it fails, ``live`` shows `NOT_SHOWN`, and ``start``
            is enabled.
        end_outputs: components that ``on_end`` updates.
    """

    def begin(work: Work) -> list[Any]:
        work.begin()
        waiting = gr.update(value=Progress("waiting to start").html(), visible=True)
        return [work, waiting, stop_button_update(True), *[gr.update(interactive=False)] * (1 + len(blocked))]

    def run(work: Work, *values: Any) -> Iterator[Any]:
        if not work.stopped:
            yield from handler(work, *values)

    def end(work: Work) -> Any:
        work.running = False
        return on_end(work)

    def unblock() -> list[Any]:
        return [gr.update(value=NOT_SHOWN, visible=True), stop_button_update(False), gr.update(interactive=True)]

    state, card = inputs[0], outputs[0]
    start.click(None, None, None, js=SHOW_OUTCOME, **IMMEDIATE)
    begun = start.click(begin, state, [state, live, stop, start, *blocked], **IMMEDIATE)
    ran = begun.then(run, list(inputs), list(outputs), show_progress_on=live, **ONE_AT_A_TIME)
    for event in (ran.then, ran.failure):  # one of the two occurs: Gradio's client triggers no ``then`` after an error
        event(end, state, list(end_outputs), **IMMEDIATE).failure(unblock, None, [live, stop, start], **IMMEDIATE)
    ran.failure(lambda: gr.update(value=FAILED, visible=True), None, card, **IMMEDIATE)


def connect_start_and_stop(
    start: gr.Button,
    stop: gr.Button,
    handler: Callable[..., Iterator[Any]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    live: gr.HTML,
) -> None:
    """Connect the buttons that start and stop long work; ``live`` is cleared when the work ends.

    The arguments are those of `connect_start`; ``inputs`` does not contain the state of the work.
    """

    def on_end(work: Work) -> list[Any]:
        return ["", stop_button_update(False), gr.update(interactive=True)]

    state = gr.State(Work())
    connect_start(start, [], stop, handler, [state, *inputs], outputs, live, on_end, [live, stop, start])
    connect_stop(stop, state)
