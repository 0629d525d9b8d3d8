from fractions import Fraction

import numpy as np
import pytest
import torch

from vitsplice import Region
from vitsplice.errors import UserError
from vitsplice.runs.inputs import appearance_number, checked_weights, parse_region


def test_mask_whose_name_has_an_equals_sign_is_found_in_the_given_or_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a=b.png").touch()
    assert parse_region("a=b.png=1", 1, tmp_path) == Region("a=b.png", 0)
    assert parse_region("a=b.png=1", 1) == Region("a", "b.png=1")
    monkeypatch.chdir(tmp_path)
    assert parse_region("a=b.png=1", 1) == Region("a=b.png", 0)


@pytest.mark.parametrize(
    ("appearance", "message"),
    [
        (2, r"region 3: there is no appearance image 2; the appearance images, in order, are a\.png, b\.png\."),
        ("0", r"region 3: there is no appearance image '0'; .*\. Numbers count from 1 on the command line"),
        (torch.tensor(1.7), r"region 3: there is no appearance image tensor\(1\.7000\); the"),
        ("c", r"region 3: there is no appearance image 'c'; the appearance images, in order, are a\.png, b\.png"),
    ],
)
def test_unknown_appearance_image_is_refused_with_those_that_exist(appearance, message):
    with pytest.raises(UserError, match=message):
        appearance_number(appearance, ["x/a.png", "b.png"], 3)


def test_name_of_several_appearance_images_is_refused_with_advice():
    with pytest.raises(UserError, match="2 appearance images have the name '3'; .* Give its path or number"):
        appearance_number("3", ["x/3.jpg", "y/3.jpg"], 1)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        *((path, path) for path in ("./x/b.png", "x//b.png", "x/b.png")),
        ("b.png", "x/b.png"),
        ("b", "x/b.png"),
        ("b\u200b.png", "b\\u200b.png"),
    ],
)
def test_appearance_image_is_found_by_its_path_name_or_stem(given, path):
    assert appearance_number(given, ["a.png", path], 1) == 1


def test_numbers_of_any_type_are_weights():
    assert checked_weights([Fraction(1, 2), np.float32(0.25), 1], 3) == (0.5, 0.25, 1.0)
    assert checked_weights(Fraction(1, 2), 1) == (0.5,)


def test_weights_from_an_iterator_are_all_checked_and_returned():
    assert checked_weights(iter([1, 2.5]), 2) == (1.0, 2.5)
    with pytest.raises(UserError, match="there are 3: 1, 2, 3"):
        checked_weights(iter([1, 2, 3]), 2)
