"""Mutated files of every format; `make fuzz` examines more."""

import fuzz_images
import pytest


@pytest.mark.slow
def test_mutated_files_give_an_image_or_a_one_line_error_within_the_limits():
    counts, faults = fuzz_images.fuzz(2_000, seconds=300, seed=1)
    assert not faults
    assert counts.total() == 2_000
    assert counts["image"] > 50
    assert counts["refused"] > 50


def test_faults_of_a_reader_are_reported():
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
