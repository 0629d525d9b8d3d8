from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.keypoints.layouts import HEADER, row, small_pfpascal, write_image, write_mat
from vitsplice.errors import UserError
from vitsplice.keypoints import UnusablePair, pfpascal
from vitsplice.keypoints.pfpascal import MAT_BYTES, read_mat_keypoints


def write_list(root, *lines, name="test_pairs.csv"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([*lines, ""]))
    return root


def test_list_gives_points_and_categories(tmp_path):
    cat, plane = pfpascal.load(small_pfpascal(tmp_path), "test").pairs()
    assert (cat.category, plane.category, cat.reference_length) == ("cat", "aeroplane", None)
    assert np.array_equal(cat.source_points, [(30, 20), (10, 60)])
    assert np.array_equal(cat.target_points, [(30, 28), (10, 51)])
    assert cat.source.path == tmp_path / "JPEGImages" / "c.jpg"
    assert cat.id != plane.id


def test_layout_of_ncnet_is_read(tmp_path):
    path = write_image(tmp_path / "PF-dataset-PASCAL" / "JPEGImages" / "a.jpg")
    write_list(tmp_path, HEADER, row("a.jpg", 3, [(1, 2)], [(3, 4)]), name="image_pairs/test_pairs.csv")
    assert pfpascal.has_layout(tmp_path)
    (pair,) = pfpascal.load(tmp_path, "test").pairs()
    assert (pair.source.path, pair.category) == (path, "bird")


def test_training_list_takes_visible_points_from_mat_files(tmp_path):
    line = "PF-dataset-PASCAL/JPEGImages/{0}.jpg,PF-dataset-PASCAL/JPEGImages/{1}.jpg,8,{2}"
    rows = [line.format("a", "b", 0), line.format("a", "b", 1), line.format("a", "gone", 0)]
    write_list(tmp_path, "source_image,target_image,class,flip", *rows, name="train_pairs.csv")
    write_mat(tmp_path / "Annotations" / "cat" / "a.mat", [(1, 2), None, (5, 6)])
    write_mat(tmp_path / "Annotations" / "cat" / "b.mat", [(10, 20), (30, 40), None])
    data = pfpascal.load(tmp_path, "train")
    pair, unusable = data.pairs()
    assert data.count == 2
    assert (pair.source_points.tolist(), pair.target_points.tolist()) == ([[2, 1]], [[20, 10]])
    assert (unusable.missing, "gone.mat" in unusable.reason) == (True, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row("a.jpg", 21, [(1, 2)], [(3, 4)]), "class 21"),
        (row("a.jpg", "inf", [(1, 2)], [(3, 4)]), "infinity"),
        (row("a.jpg", "cat", [(1, 2)], [(3, 4)]), "cat"),
        (row("a.jpg", 8, [(1, 2)], [(3, 4), (5, 6)]), "1 keypoints in the source and 2"),
        ("a.jpg,b.jpg,8,1;2,3,4;5,6;7", "2 x coordinates and 1 y coordinates"),
        ("a.jpg,b.jpg,8,1;x,3;4,4;5,6;7", "x"),
        ("a.jpg", "could not convert"),
    ],
)
def test_invalid_row_makes_only_its_pair_unusable(tmp_path, line, reason):
    root = write_list(tmp_path, HEADER, line, row("a.jpg", 8, [(1, 2)], [(3, 4)]))
    unusable, pair = pfpascal.load(root, "test").pairs()
    assert isinstance(unusable, UnusablePair)
    assert reason in unusable.reason
    assert pair.category == "cat"


@pytest.mark.parametrize(
    ("columns", "source", "target"),
    [
        ("1;;3,4;;6,7;8;9,10;11;12", [(4, 1), (6, 3)], [(10, 7), (12, 9)]),
        ("1;2;3,4;5;6,;8;9,;11;12", [(5, 2), (6, 3)], [(11, 8), (12, 9)]),
        ("1;2;,4;5;,7;8;,10;11;", [(4, 1), (5, 2)], [(10, 7), (11, 8)]),
        (",,,", [], []),
    ],
    ids=["in the source", "in the target", "at the end of all lists", "no keypoints"],
)
def test_keypoint_with_an_empty_entry_is_not_visible_and_others_stay_paired(tmp_path, columns, source, target):
    (pair,) = pfpascal.load(write_list(tmp_path, HEADER, f"a.jpg,b.jpg,8,{columns}"), "test").pairs()
    assert list(map(tuple, pair.source_points)) == source
    assert list(map(tuple, pair.target_points)) == target


def test_pair_with_different_numbers_of_x_and_y_coordinates_is_unusable(tmp_path):
    (unusable,) = pfpascal.load(write_list(tmp_path, HEADER, "a.jpg,b.jpg,8,1;2;,4;5,7;8,10;11"), "test").pairs()
    assert unusable.reason == "3 x coordinates and 2 y coordinates"


def test_pair_with_keypoints_in_only_one_image_is_unusable(tmp_path):
    (unusable,) = pfpascal.load(write_list(tmp_path, HEADER, "a.jpg,b.jpg,8,,,5,6"), "test").pairs()
    assert unusable.reason == "0 keypoints in the source and 1 in the target"


def test_folder_is_recorded_without_dots(tmp_path):
    small_pfpascal(tmp_path)
    (tmp_path / "new").mkdir()
    plain, dotted = (pfpascal.load(root, "test").details for root in (tmp_path, tmp_path / "new" / ".."))
    assert plain == dotted


def test_control_characters_in_a_list_are_escaped_in_names_of_pairs(tmp_path):
    lines = [row("\x1b[31ma.jpg", 8, [(1, 2)], [(3, 4)]), row("\x1b[31ma.jpg", 21, [(1, 2)], [(3, 4)])]
    for pair in pfpascal.load(write_list(tmp_path, HEADER, *lines), "test").pairs():
        assert pair.id.isprintable()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["source_image,target_image,class,XA,YA"], "no column XB, YB; a list of pairs has source_image"),
        (["a,b"], "no column source_image"),
        ([], "no column"),
        ([HEADER], "no pairs"),
        (["source_image,target_image,class,flip", "a.jpg,b.jpg,8,1"], "no pairs"),
    ],
)
def test_invalid_list_is_refused(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        pfpascal.load(write_list(tmp_path, *lines), "test")


def test_binary_list_and_missing_split_are_refused(tmp_path):
    (tmp_path / "test_pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        pfpascal.load(tmp_path, "test")
    with pytest.raises(UserError, match=r"such as trn_pairs_pf_pascal\.csv.*available splits: test"):
        pfpascal.load(small_pfpascal(tmp_path), "trn")


def test_mat_points_are_read_as_they_were_written(tmp_path):
    points = read_mat_keypoints(write_mat(tmp_path / "a.mat", [(1.5, 2), None]))
    assert np.array_equal(points, [(1.5, 2), (np.nan, np.nan)], equal_nan=True)


@pytest.mark.parametrize("kps", [np.ones((3, 3)), np.ones((20_000, 2)), "words", np.array([["a", 1]], object), {}])
def test_mat_file_with_other_content_is_refused(tmp_path, kps):
    scipy.io.savemat(tmp_path / "a.mat", {"kps": kps})
    with pytest.raises(ValueError, match=r"cannot read keypoints from .*a\.mat:"):
        read_mat_keypoints(tmp_path / "a.mat")


def test_other_truncated_and_too_large_mat_files_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "other.mat", {"box": np.ones(4)})
    content = write_mat(tmp_path / "complete.mat", [(1, 2)] * 30).read_bytes()
    (tmp_path / "truncated.mat").write_bytes(content[:-20])
    (tmp_path / "empty.mat").write_bytes(b"")
    (tmp_path / "text.mat").write_bytes(b"text " * 100)
    (tmp_path / "large.mat").write_bytes(content + bytes(MAT_BYTES))
    for name in ("other", "truncated", "empty", "text", "large", "x" * 300):
        with pytest.raises(ValueError, match=rf"cannot read keypoints from .*{name}\.mat:"):
            read_mat_keypoints(tmp_path / f"{name}.mat")
    with pytest.raises(FileNotFoundError):
        read_mat_keypoints(tmp_path / "a.mat")


def test_any_corrupt_byte_of_a_mat_file_raises_only_value_error(tmp_path):
    content = write_mat(tmp_path / "a.mat", [(1, 2), (3, 4)]).read_bytes()
    for index in range(0, len(content), 3):
        (tmp_path / "a.mat").write_bytes(content[:index] + bytes([content[index] ^ 0x55]) + content[index + 1 :])
        with suppress(ValueError):
            assert read_mat_keypoints(tmp_path / "a.mat").shape[1] == 2


@pytest.mark.parametrize("path", [".", "..", "../new/.."])
def test_name_of_a_data_set_is_that_of_its_folder_for_every_relative_path(tmp_path, monkeypatch, path):
    small_pfpascal(tmp_path)
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path if path == "." else tmp_path / "new")
    assert pfpascal.load(Path(path), "test").name == f"{tmp_path.name}, layout of PF-PASCAL, test"
