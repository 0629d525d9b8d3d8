"""Measurement of one output: allowed sizes, and notes of images."""

import pytest

from vitsplice.errors import UserError
from vitsplice.images import LoadedImage
from vitsplice.metrics import measure


def images(pair, *notes):
    """Structure, appearance and output image, all of the same name, with these notes."""
    return [
        LoadedImage(pixels, of_image, "", "PIL image") for pixels, of_image in zip((*pair, pair[0]), notes, strict=True)
    ]


@pytest.fixture
def _nothing_to_measure(monkeypatch):
    monkeypatch.setattr(measure, "loss_metrics", lambda *_: [])
    monkeypatch.setattr(measure, "select_run_metrics", lambda *_: [])


@pytest.mark.usefixtures("_nothing_to_measure")
def test_notes_of_images_of_equal_names_are_merged(pair):
    measured = measure.measure_images(*images(pair, ("grey",), ("alpha", "grey"), ()), "tiny-vit")
    assert measured.notes == {"PIL image": ("grey", "alpha")}


@pytest.mark.usefixtures("_nothing_to_measure")
@pytest.mark.parametrize("size", [-5, 0, 15, 4097, 32.5, True])
def test_size_that_is_not_allowed_is_refused(pair, size):
    with pytest.raises(UserError, match=f"size={size} is not allowed; it must be a whole number from 16 to 4096"):
        measure.measure_images(*images(pair, (), (), ()), "tiny-vit", size)


@pytest.mark.usefixtures("_nothing_to_measure")
@pytest.mark.parametrize("size", [16, 4096])
def test_smallest_and_largest_size_are_recorded(pair, size):
    assert measure.measure_images(*images(pair, (), (), ()), "tiny-vit", size).size == size
