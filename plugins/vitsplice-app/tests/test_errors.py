"""Errors of event handlers: a card with the text of the command line, other outputs unchanged."""

import inspect
import os
from html import unescape
from tempfile import gettempdir

import gradio as gr
import pytest
from vitsplice_app.errors import FAULT, card_html, error_card, guarded
from vitsplice_app.workspace import PREFIX

from vitsplice.errors import Argument, ConfigError, ImageError


@pytest.fixture
def card():
    return error_card()


def failing(error):
    def handler(value):
        raise error

    return handler


def test_values_of_a_handler_follow_the_hidden_card(card):
    hidden, first, second = guarded(card, lambda a, b: (b, a))(1, 2)
    assert hidden["visible"] is False
    assert (first, second) == (2, 1)


def test_single_value_and_updates_by_component_are_kept(card):
    assert guarded(card, lambda: "text")()[1] == "text"
    assert guarded(card, lambda: gr.update(value=3))()[1]["value"] == 3
    other = gr.HTML()
    assert guarded(card, lambda: {other: 1})()[other] == 1


def test_none_leaves_the_outputs_unchanged(card):
    assert list(guarded(card, lambda: None)()) == [card]


def test_error_is_shown_with_the_text_of_the_command_line(card, capsys):
    error = ConfigError("size must be at least 16; give ", Argument("size", 32))
    shown = guarded(card, failing(error))(1)
    assert list(shown) == [card]
    assert shown[card]["visible"] is True
    assert "size must be at least 16; give --size 32" in shown[card]["value"]
    assert FAULT not in shown[card]["value"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")])
def test_lack_of_memory_is_shown_with_advice(card, error, capsys):
    shown = guarded(card, failing(error))(1)
    assert "out of memory" in shown[card]["value"]
    assert "try smaller images" in shown[card]["value"]
    assert capsys.readouterr().err == ""


def test_unexpected_error_is_shown_and_logged_with_its_traceback(card, capsys):
    shown = guarded(card, failing(ValueError("a bug")))(1)
    assert "ValueError: a bug" in shown[card]["value"]
    assert FAULT in shown[card]["value"]
    assert "Traceback" in capsys.readouterr().err


def test_generator_shows_what_it_yielded_before_its_error(card):
    def handler():
        yield "first"
        raise ConfigError("stopped")

    steps = list(guarded(card, handler)())
    assert list(steps[0]) == [card]
    assert steps[1][1] == "first"
    assert "stopped" in steps[2][card]["value"]


def test_closing_a_generator_ends_the_handler(card):
    ended = []

    def handler():
        try:
            yield 1
            yield 2
        finally:
            ended.append(True)

    steps = guarded(card, handler)()
    next(steps)
    next(steps)
    steps.close()
    assert ended == [True]


def test_signature_of_the_handler_is_kept(card):
    def handler(image, progress=gr.Progress()):  # noqa: B008
        yield image

    assert inspect.signature(guarded(card, handler)) == inspect.signature(handler)
    assert inspect.isgeneratorfunction(guarded(card, handler))


def test_text_from_outside_is_escaped():
    html = card_html(ConfigError("<script>alert(1)</script>"))
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("root", ["/", ""])
@pytest.mark.parametrize("folder", [f"files/{'0a' * 32}", "runs/quick-1a2b/images/structure"])
def test_error_has_the_name_that_the_user_gave_the_file(root, folder):
    path = f"{root}{os.path.realpath(gettempdir()).lstrip('/')}/{PREFIX}abc/{folder}/my cat.png"
    assert "<p>'my cat.png' is empty</p>" in unescape(card_html(ImageError(f"'{path}' is empty")))
