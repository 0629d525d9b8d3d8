"""Mutated files of every format, for a bounded time; `make fuzz` goes on for longer."""

import os

import fuzz_images
import pytest


@pytest.mark.slow
def test_mutated_files_give_a_image_or_one_line_soon_and_in_bounds():
    counts, faults = fuzz_images.fuzz(20_000, float(os.environ.get("VITSPLICE_FUZZ_SECONDS", "40")), seed=1)
    assert not faults
    assert counts["image"] > 50
    assert counts["refused"] > 50


def test_a_reader_that_is_wrong_would_be_found():
    class Wrong:
        def read(self, path):
            raise ValueError("what is this")

    class Told(Exception):
        pass

    class Rude:
        def read(self, path):
            raise Told("two\nlines")

    assert fuzz_images.examine("x", Wrong(), Told) == "ValueError: what is this"
    assert fuzz_images.examine("x", Rude(), Told) == "message 'two\\nlines'"
