import json

import numpy as np
import pytest

from tests.keypoints.trees import annotation, known_spair
from tests.keypoints.trees import spair as tree
from vitsplice.errors import UserError
from vitsplice.keypoints import Flaw, spair


def test_points_sizes_and_threshold_are_those_of_the_target(tmp_path):
    found = list(spair.read(known_spair(tmp_path), "test", "large").pairs())
    assert [pair.id for pair in found] == ["1-a-a:cat", "2-a-a:cat", "3-a-a:dog"]
    dog = found[-1]
    assert (dog.category, dog.reference, dog.target.size) == ("dog", 40, (48, 80))
    assert dog.source.path == tmp_path / "JPEGImages" / "dog" / "a.jpg"
    assert np.array_equal(dog.source_points, [(20, 70), (40, 9), (9, 99)])
    assert np.array_equal(dog.target_points, [(20, 70), (33, 9), (9, 9)])


@pytest.mark.parametrize(("box", "reference"), [((5, 7, 45, 17), 40), ((5, 7, 15, 37), 30)])
def test_a_threshold_is_a_part_of_the_larger_side_of_the_box_whichever_it_is(tmp_path, box, reference):
    (pair,) = spair.read(tree(tmp_path, {"a": annotation("cat", [(1, 2)], [(3, 4)], box)}), "test", "large").pairs()
    assert pair.reference == reference


def test_subsets_and_a_tree_without_layout(tmp_path):
    known_spair(tmp_path)
    assert spair.read(tmp_path, "test", "small").count == 1
    for subset in ("large", "small"):
        (tmp_path / "Layout" / subset / "test.txt").unlink()
        (tmp_path / "Layout" / subset).rmdir()
    with pytest.raises(UserError, match=r"Layout/large/test\.txt"):
        spair.read(tmp_path, "test", "large")
    (tmp_path / "Layout").rmdir()
    assert spair.read(tmp_path, "test", "large").count == 3


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="the splits that are there: test"):
        spair.read(known_spair(tmp_path), "val", "large")


def test_a_split_without_pairs(tmp_path):
    with pytest.raises(UserError, match="no pairs"):
        spair.read(tree(tmp_path, {}), "test", "large")


FINE = annotation("cat", [(1, 2)], [(3, 4)])
FLAWS = {
    "no JSON": ("{", "is no annotation"),
    "a list": ("[]", "is no annotation"),
    "no points": (json.dumps({k: v for k, v in FINE.items() if k != "trg_kps"}), "'trg_kps'"),
    "other points": (FINE | {"trg_kps": [[1, 2], [3, 4]]}, "1 keypoints in the source and 2"),
    "three numbers": (FINE | {"src_kps": [[1, 2, 3]]}, "pairs of numbers"),
    "words": (FINE | {"src_kps": [["a", "b"]]}, "is no annotation"),
    "no box": (FINE | {"trg_bndbox": [5, 5, 5, 5]}, "empty"),
    "half a box": (FINE | {"trg_bndbox": [5, 5]}, "is no annotation"),
    "half a size": (FINE | {"src_imsize": [5]}, "is no annotation"),
    "huge": (FINE | {"src_kps": [[10**400, 1]]}, "is no annotation"),
    "category": (FINE | {"category": None}, "is no annotation"),
}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_one_pair_s(tmp_path, name):
    told, why = FLAWS[name]
    flaw, fine = spair.read(tree(tmp_path, {"a": told, "b": FINE}), "test", "large").pairs()
    assert isinstance(flaw, Flaw)
    assert (flaw.id, flaw.missing, why in flaw.why) == ("a", False, True), flaw.why
    assert fine.id == "b"


def test_an_annotation_that_is_not_there_is_missing(tmp_path):
    tree(tmp_path, {"a": FINE})
    (tmp_path / "PairAnnotation" / "test" / "a.json").unlink()
    (flaw,) = spair.read(tmp_path, "test", "large").pairs()
    assert (flaw.id, flaw.missing) == ("a", True)
