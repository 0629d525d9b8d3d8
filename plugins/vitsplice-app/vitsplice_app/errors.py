"""Errors of event handlers as a card on the page, with the text that the command line prints."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from html import escape
from tempfile import gettempdir
from typing import Any

import gradio as gr

from vitsplice.cli.output import error_message, is_fault
from vitsplice_app.workspace import PREFIX

FAULT = "This is a fault of vitsplice or of a plugin; the terminal of vitsplice app shows where it happened."

TEMPORARY_FOLDER = re.compile(rf"/?{re.escape(os.path.realpath(gettempdir()).lstrip('/'))}/{PREFIX}[^\s'\"]*/")
"""Pattern of the folder in the path of a workspace's file. Cards omit the folder: the user knows only the file name.

The leading slash is optional, because short unique names of files (`vitsplice.support.files.unique_names`) may lack it.
"""


def error_card() -> gr.HTML:
    """Create the card for the errors of a tab, hidden while there is no error."""
    return gr.HTML(visible=False, elem_classes="error-card")


def card_html(error: Exception) -> str:
    """Format an error as HTML: the command line's text, followed by `FAULT` if the error is unexpected (`is_fault`)."""
    text = TEMPORARY_FOLDER.sub("", error_message(error))
    fault = f"<p>{FAULT}</p>" if is_fault(error) else ""
    return f'<div role="alert"><strong>Error</strong><p>{escape(text)}</p>{fault}</div>'


def guarded(card: gr.HTML, handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return an event handler that shows errors in a card.

    The card is the first output of the event: ``button.click(guarded(card, handler), inputs, [card, *outputs])``.

    Args:
        card: card of the tab, see `error_card`.
        handler: function or generator function. It returns (yields) the value of the only output, a tuple with the
            value of each output, or a dict of values by component; None leaves all ``outputs`` unchanged.

    Returns:
        The new handler. For any error it shows the card and leaves the other outputs unchanged; an unexpected error is
        also printed on the terminal, with its traceback. A call without an error hides the card.
    """

    @wraps(handler)
    def call(*arguments: Any) -> Any:
        try:
            return _with_card(card, handler(*arguments))
        except Exception as error:
            return _report(card, error)

    @wraps(handler)
    def generate(*arguments: Any) -> Iterator[Any]:
        try:
            yield _hidden(card)
            for values in handler(*arguments):
                yield _with_card(card, values)
        except Exception as error:
            yield _report(card, error)

    return generate if inspect.isgeneratorfunction(handler) else call


def _with_card(card: gr.HTML, values: Any) -> Any:
    """Add the update that hides the card to the values of the outputs."""
    if values is None:
        return _hidden(card)
    if isinstance(values, dict) and "__type__" not in values:
        return _hidden(card) | values
    return (_hidden(card)[card], *(values if isinstance(values, tuple) else (values,)))


def _hidden(card: gr.HTML) -> dict[Any, Any]:
    return {card: gr.update(value="", visible=False)}


def _report(card: gr.HTML, error: Exception) -> dict[Any, Any]:
    """Return the update that shows an error in a card; print the traceback of an unexpected error."""
    if is_fault(error):
        traceback.print_exception(error)
    return {card: gr.update(value=card_html(error), visible=True)}
