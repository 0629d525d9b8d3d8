import numpy as np
import pytest

from tests.keypoints.trees import HEAD, image, known_pascal, mat, row
from vitsplice.errors import UserError
from vitsplice.keypoints import Flaw, pfpascal


def write(root, *lines, name="test_pairs.csv"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([*lines, ""]))
    return root


def test_points_and_categories_of_a_list(tmp_path):
    cat, plane = pfpascal.read(known_pascal(tmp_path), "test").pairs()
    assert (cat.category, plane.category, cat.reference) == ("cat", "aeroplane", None)
    assert np.array_equal(cat.source_points, [(30, 20), (10, 60)])
    assert np.array_equal(cat.target_points, [(30, 28), (10, 51)])
    assert cat.source.path == tmp_path / "JPEGImages" / "c.jpg"
    assert cat.id != plane.id


def test_the_layout_of_ncnet(tmp_path):
    path = image(tmp_path / "PF-dataset-PASCAL" / "JPEGImages" / "a.jpg")
    write(tmp_path, HEAD, row("a.jpg", 3, [(1, 2)], [(3, 4)]), name="image_pairs/test_pairs.csv")
    assert pfpascal.is_one(tmp_path)
    (pair,) = pfpascal.read(tmp_path, "test").pairs()
    assert (pair.source.path, pair.category) == (path, "bird")


def test_points_of_a_list_for_training_come_from_annotations_and_unseen_ones_are_left_out(tmp_path):
    names = "PF-dataset-PASCAL/JPEGImages/{0}.jpg,PF-dataset-PASCAL/JPEGImages/{1}.jpg,8,{2}"
    rows = [names.format("a", "b", 0), names.format("a", "b", 1), names.format("a", "gone", 0)]
    write(tmp_path, "source_image,target_image,class,flip", *rows, name="train_pairs.csv")
    mat(tmp_path / "Annotations" / "cat" / "a.mat", [(1, 2), None, (5, 6)])
    mat(tmp_path / "Annotations" / "cat" / "b.mat", [(10, 20), (30, 40), None])
    data = pfpascal.read(tmp_path, "train")
    pair, flaw = data.pairs()
    assert data.count == 2
    assert (pair.source_points.tolist(), pair.target_points.tolist()) == ([[2, 1]], [[20, 10]])
    assert (flaw.missing, "gone.mat" in flaw.why) == (True, True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (row("a.jpg", 21, [(1, 2)], [(3, 4)]), "class 21"),
        (row("a.jpg", "inf", [(1, 2)], [(3, 4)]), "infinity"),
        (row("a.jpg", "cat", [(1, 2)], [(3, 4)]), "cat"),
        (row("a.jpg", 8, [(1, 2)], [(3, 4), (5, 6)]), "1 keypoints in the source and 2"),
        ("a.jpg,b.jpg,8,1;2,3,4;5,6;7", "2 keypoints across and 1 down"),
        ("a.jpg,b.jpg,8,1;x,3;4,4;5,6;7", "x"),
        ("a.jpg", "could not convert"),
    ],
)
def test_a_flaw_is_one_pair_s(tmp_path, line, why):
    flaw, fine = pfpascal.read(write(tmp_path, HEAD, line, row("a.jpg", 8, [(1, 2)], [(3, 4)])), "test").pairs()
    assert isinstance(flaw, Flaw)
    assert why in flaw.why
    assert fine.category == "cat"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["source_image,target_image,class,XA,YA"], "no column XB, YB; a list of pairs has source_image"),
        (["a,b"], "no column source_image"),
        ([], "no column"),
        ([HEAD], "no pairs"),
        (["source_image,target_image,class,flip", "a.jpg,b.jpg,8,1"], "no pairs"),
    ],
)
def test_a_list_that_is_none(tmp_path, lines, told):
    with pytest.raises(UserError, match=told):
        pfpascal.read(write(tmp_path, *lines), "test")


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "test_pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no CSV file"):
        pfpascal.read(tmp_path, "test")


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"looked for trn_pairs_pf_pascal\.csv.*there: test"):
        pfpascal.read(known_pascal(tmp_path), "trn")
