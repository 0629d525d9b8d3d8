"""Mutated files of every format; `make fuzz` examines more."""

import fuzz_images
import pytest


@pytest.mark.slow
@pytest.mark.usefixtures("processes")  # starts the fork server that `fuzz` uses, with torch imported
def test_mutated_files_give_an_image_or_a_one_line_error_within_the_limits():
    counts, faults = fuzz_images.fuzz(1_000, seconds=300, seed=1)
    assert not faults
    assert counts.total() == 1_000
    assert counts["image"] > 50
    assert counts["refused"] > 50


@pytest.mark.slow
@pytest.mark.usefixtures("processes")
def test_worker_that_ends_before_its_first_file_is_an_error(monkeypatch):
    monkeypatch.setattr(fuzz_images, "work", "".format)  # returns at once
    with pytest.raises(RuntimeError, match="ended or hung before it read a file"):
        fuzz_images.fuzz(10, seconds=10, seed=0)


def test_faults_of_a_reader_are_reported():
    class RaisesAnotherError:
        def read(self, path):
            raise ValueError("what is this")

    class Refused(Exception):
        pass

    class RefusesInTwoLines:
        def read(self, path):
            raise Refused("two\nlines")

    assert fuzz_images.examine("x", RaisesAnotherError(), Refused) == "ValueError: what is this"
    assert fuzz_images.examine("x", RefusesInTwoLines(), Refused) == "message 'two\\nlines'"
