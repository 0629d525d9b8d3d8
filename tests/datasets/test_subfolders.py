import pytest

from vitsplice.datasets.subfolders import pairs
from vitsplice.errors import UserError


def inside(pair, folder):
    return {field: path.relative_to(folder).as_posix() for field, path in pair.images.items()}


def test_pairs_of_both_forms_and_masks(made):
    folder = made(
        "cow/structure.jpg", "cow/appearance.PNG", "cow/appearance_mask.png", "cow/published_splice.jpg",
        "0/A/img.png", "0/B/img.png", "0/ours/out.png", "other/notes.txt",
    )  # fmt: skip
    released, named = pairs(folder)
    assert (released.id, named.id) == ("0", "cow")
    assert inside(released, folder) == {"structure": "0/A/img.png", "appearance": "0/B/img.png"}
    assert inside(named, folder) == {
        "structure": "cow/structure.jpg",
        "appearance": "cow/appearance.PNG",
        "appearance_mask": "cow/appearance_mask.png",
    }


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["x/structure.jpg"], r"x has no appearance image: appearance.png"),
        (["x/B/1.jpg"], r"x has no structure image"),
        (["x/structure.jpg", "x/structure.png", "x/appearance.jpg"], r"structure\.\* must be one image; there are 2"),
        (
            ["x/A/1.jpg", "x/A/2.jpg", "x/B/1.jpg"],
            r"A must be one image; there are 2: 1.jpg, 2.jpg; to pair two folders",
        ),
    ],
)
def test_half_a_pair_and_a_choice_are_named(made, files, told):
    with pytest.raises(UserError, match=told):
        pairs(made(*files))
