import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.keypoints.layouts import annotation, small_spair, write_spair
from vitsplice.errors import UserError
from vitsplice.keypoints import UnusablePair, spair


def test_annotation_gives_points_sizes_and_reference_length(tmp_path):
    pairs = list(spair.load(small_spair(tmp_path), "test", "large").pairs())
    assert [pair.id for pair in pairs] == ["1-a-a:cat", "2-a-a:cat", "3-a-a:dog"]
    dog = pairs[-1]
    assert (dog.category, dog.reference_length, dog.target.size) == ("dog", 40, (48, 80))
    assert dog.source.path == tmp_path / "JPEGImages" / "dog" / "a.jpg"
    assert np.array_equal(dog.source_points, [(20, 70), (40, 9), (9, 99)])
    assert np.array_equal(dog.target_points, [(20, 70), (33, 9), (9, 9)])


VALID = annotation("cat", [(1, 2)], [(3, 4)])


@pytest.mark.parametrize(("box", "length"), [((5, 7, 45, 17), 40), ((5, 7, 15, 37), 30)])
def test_reference_length_is_the_larger_side_of_the_box(tmp_path, box, length):
    root = write_spair(tmp_path, {"a": annotation("cat", [(1, 2)], [(3, 4)], box)})
    (pair,) = spair.load(root, "test", "large").pairs()
    assert pair.reference_length == length


def test_missing_list_is_an_error_but_without_layout_folder_all_pairs_of_the_split_are_used(tmp_path):
    small_spair(tmp_path)
    assert spair.load(tmp_path, "test", "small").count == 1
    for subset in ("large", "small"):
        (tmp_path / "Layout" / subset / "test.txt").unlink()
        (tmp_path / "Layout" / subset).rmdir()
    with pytest.raises(UserError, match=r"Layout/large/test\.txt"):
        spair.load(tmp_path, "test", "large")
    (tmp_path / "Layout").rmdir()
    assert spair.load(tmp_path, "test", "large").count == 3


def test_hidden_files_beside_annotations_are_no_pairs(tmp_path):
    root = write_spair(tmp_path, {"a": VALID, "._a": "AppleDouble file of macOS"})
    shutil.rmtree(root / "Layout")
    assert [pair.id for pair in spair.load(root, "test", "large").pairs()] == ["a"]


def test_lists_and_annotations_may_begin_with_a_byte_order_mark(tmp_path):
    root = write_spair(tmp_path, {"a": VALID})
    for path in (root / "Layout" / "large" / "test.txt", root / "PairAnnotation" / "test" / "a.json"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    (pair,) = spair.load(root, "test", "large").pairs()
    assert pair.id == "a"
    assert pair.category == "cat"


def test_folder_is_recorded_without_dots(tmp_path):
    small_spair(tmp_path)
    plain, dotted = (spair.load(root, "test", "large").details for root in (tmp_path, tmp_path / "Layout" / ".."))
    assert plain == dotted


def test_missing_and_empty_splits_are_errors(tmp_path):
    with pytest.raises(UserError, match="available splits: test"):
        spair.load(small_spair(tmp_path / "one"), "val", "large")
    with pytest.raises(UserError, match="no pairs"):
        spair.load(write_spair(tmp_path / "two", {}), "test", "large")


def test_points_of_a_pair_without_keypoints_have_shape_0_by_2(tmp_path):
    (pair,) = spair.load(write_spair(tmp_path, {"a": annotation("cat", [], [])}), "test", "large").pairs()
    assert pair.source_points.shape == pair.target_points.shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not the annotation"),
        ("[]", "is not the annotation"),
        (json.dumps({k: v for k, v in VALID.items() if k != "trg_kps"}), "'trg_kps'"),
        (VALID | {"trg_kps": [[1, 2], [3, 4]]}, "1 keypoints in the source and 2"),
        (VALID | {"src_kps": [[1, 2, 3]]}, "pairs of numbers"),
        (VALID | {"src_kps": [["a", "b"]]}, "is not the annotation"),
        (VALID | {"trg_bndbox": [5, 5, 5, 5]}, "empty"),
        (VALID | {"trg_bndbox": [0, 0, 1e-320, 0]}, "empty"),
        (VALID | {"trg_bndbox": [0, 0, float("inf"), 5]}, "not finite"),
        (VALID | {"trg_bndbox": [5, 5]}, "is not the annotation"),
        (VALID | {"src_imsize": [5]}, "is not the annotation"),
        (VALID | {"src_kps": [[10**400, 1]]}, "is not the annotation"),
        (VALID | {"category": None}, "is not the annotation"),
    ],
)
def test_invalid_annotation_makes_only_its_pair_unusable(tmp_path, content, reason):
    unusable, pair = spair.load(write_spair(tmp_path, {"a": content, "b": VALID}), "test", "large").pairs()
    assert isinstance(unusable, UnusablePair)
    assert (unusable.id, unusable.missing, reason in unusable.reason) == ("a", False, True), unusable.reason
    assert pair.id == "b"


def test_pair_without_annotation_file_is_reported_as_missing(tmp_path):
    write_spair(tmp_path, {"a": VALID})
    (tmp_path / "PairAnnotation" / "test" / "a.json").unlink()
    (unusable,) = spair.load(tmp_path, "test", "large").pairs()
    assert (unusable.id, unusable.missing) == ("a", True)


@pytest.mark.parametrize("path", [".", "..", "../new/.."])
def test_name_of_the_data_set_begins_with_that_of_the_folder_a_relative_path_leads_to(tmp_path, monkeypatch, path):
    small_spair(tmp_path)
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path if path == "." else tmp_path / "new")
    assert spair.load(Path(path), "test", "large").name == f"{tmp_path.name}, layout of SPair-71k, test"
