"""The packaged images."""

import pytest

from vitsplice.errors import UnknownName
from vitsplice.images import EXAMPLE_PAIRS, example, read


def test_the_default_example_is_the_first_pair():
    assert example() == example("apple-orange")
    assert [path.name for path in example()] == ["apple.jpg", "orange.jpg"]


@pytest.mark.parametrize("name", EXAMPLE_PAIRS)
def test_examples_can_be_read_and_are_credited(name):
    for path in example(name):
        image = read(path)
        assert min(image.pixels.shape[-2:]) >= 300
        assert image.pixels.std() > 0.1
        assert image.notes == ()
        assert f"`{path.name}`" in (path.parent / "CREDITS.md").read_text()


def test_the_examples_are_small():
    folder = example()[0].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_an_unknown_example_names_the_others():
    with pytest.raises(UnknownName, match="apple-orange, cat-dog"):
        example("pear\n")
