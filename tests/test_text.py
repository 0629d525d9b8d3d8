"""Untrusted text is escaped for terminals; types have articles in messages."""

import numpy as np
import pytest

from vitsplice.text import one_line, plain, printable, type_with_article


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("Käse 写真.png", "Käse 写真.png"),
        ('it\'s a \\ in "quotes"', 'it\'s a \\ in "quotes"'),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31mred\x9b", "\\x1b[31mred\\x9b"),
        ("gnp.\u202eabc\u2028", "gnp.\\u202eabc\\u2028"),
        ("raw \udcff byte", "raw \\udcff byte"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_printable_escapes_control_characters(text, shown):
    assert printable(text) == shown


def test_plain_preserves_lines_and_tabs():
    assert plain("no such\n\tfile \x1b[2J\r\u202e") == "no such\n\tfile \\x1b[2J\\r\\u202e"


def test_one_line_replaces_control_characters_and_truncates():
    assert one_line("a\x1b[2J\tb\r\nc\u202ed") == "a [2J b c d"
    assert one_line("x" * 1000) == "x" * 1000
    assert one_line("x" * 2000) == "x" * 997 + "..."


@pytest.mark.parametrize(
    ("value", "text"), [(1, "an int"), (np.zeros(1), "an ndarray"), (np.uint8(1), "a uint8"), (None, "None")]
)
def test_type_with_article(value, text):
    assert type_with_article(value) == text
