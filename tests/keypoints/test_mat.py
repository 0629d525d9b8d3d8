from contextlib import suppress

import numpy as np
import pytest
import scipy.io

from tests.keypoints.trees import mat
from vitsplice.keypoints.mat import LARGEST, keypoints


def test_points_are_as_they_were_saved(tmp_path):
    found = keypoints(mat(tmp_path / "a.mat", [(1.5, 2), None]))
    assert np.array_equal(found, [(1.5, 2), (np.nan, np.nan)], equal_nan=True)


@pytest.mark.parametrize("kps", [np.ones((3, 3)), np.ones((20_000, 2)), "words", np.array([["a", 1]], object), {}])
def test_other_content_is_refused(tmp_path, kps):
    scipy.io.savemat(tmp_path / "a.mat", {"kps": kps})
    with pytest.raises(ValueError, match=r"a\.mat holds no keypoints"):
        keypoints(tmp_path / "a.mat")


def test_a_file_without_points_or_that_is_none_or_too_large_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "other.mat", {"box": np.ones(4)})
    whole = mat(tmp_path / "whole.mat", [(1, 2)] * 30).read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[:-20])
    (tmp_path / "empty.mat").write_bytes(b"")
    (tmp_path / "text.mat").write_bytes(b"text " * 100)
    (tmp_path / "large.mat").write_bytes(whole + bytes(LARGEST))
    for name in ("other", "cut", "empty", "text", "large"):
        with pytest.raises(ValueError, match=f"{name}.mat holds no keypoints"):
            keypoints(tmp_path / f"{name}.mat")


def test_every_byte_may_be_wrong_and_nothing_else_is_raised(tmp_path):
    whole = mat(tmp_path / "a.mat", [(1, 2), (3, 4)]).read_bytes()
    for place in range(0, len(whole), 3):
        (tmp_path / "a.mat").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with suppress(ValueError):
            assert keypoints(tmp_path / "a.mat").shape[1] == 2


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(ValueError, match="holds no keypoints"):
        keypoints(tmp_path / ("x" * 300 + ".mat"))


def test_one_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        keypoints(tmp_path / "a.mat")
