import pytest
import torch

from vitsplice.analysis.subjects import square, subjects_of
from vitsplice.images import encode_png

from ..conftest import noise


def test_the_middle_square():
    picture = noise(1, 3, 40, 60)
    torch.testing.assert_close(square(picture, 40), picture[..., 10:50])


def test_labels_are_cut_as_the_picture_is(tmp_path):
    image, masks = tmp_path / "a.png", tmp_path / "masks"
    masks.mkdir()
    image.write_bytes(encode_png(noise(3, 40, 60)))
    mask = torch.zeros(3, 40, 60)
    mask[..., 30:] = 1
    (masks / "a.jpg.png").write_bytes(encode_png(mask))
    assert subjects_of([image], masks, 40)[0].labels is None
    (masks / "a.png").write_bytes(encode_png(mask))
    labels = subjects_of([image], masks, 40)[0].labels
    assert labels.shape == (40, 40)
    assert labels[:, :20].unique().tolist() == [0]
    assert labels[:, 20:].unique().tolist() == [255]


@pytest.mark.parametrize(("levels", "kept"), [(5, 3), (40, 2)])
def test_many_grey_levels_are_light_and_dark(tmp_path, levels, kept):
    grey = torch.linspace(0, 1, levels).repeat_interleave(80 // levels).expand(3, 40, -1)
    (tmp_path / "a.png").write_bytes(encode_png(grey))
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "a.png").write_bytes(encode_png(grey))
    labels = subjects_of([tmp_path / "a.png"], masks, 160)[0].labels
    assert len(labels.unique()) == kept
