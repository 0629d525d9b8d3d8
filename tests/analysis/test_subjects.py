import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis.subjects import sources_of, square
from vitsplice.errors import UserError
from vitsplice.images import encode_png


def test_the_middle_square():
    image = noise(1, 3, 40, 60)
    torch.testing.assert_close(square(image, 40), image[..., 10:50])


def test_labels_are_cut_as_the_image_is(tmp_path):
    image, masks = tmp_path / "a.png", tmp_path / "masks"
    masks.mkdir()
    image.write_bytes(encode_png(noise(3, 40, 60)))
    mask = torch.zeros(3, 40, 60)
    mask[..., 30:] = 1
    (masks / "a.jpg.png").write_bytes(encode_png(mask))
    assert sources_of([image], masks, 40)[0].subject().labels is None
    (masks / "a.png").write_bytes(encode_png(mask))
    labels = sources_of([image], masks, 40)[0].subject().labels
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
    labels = sources_of([tmp_path / "a.png"], masks, 160)[0].subject().labels
    assert len(labels.unique()) == kept


def test_images_of_one_name_have_masks_in_folders_of_theirs(tmp_path):
    images = [tmp_path / folder / "a.png" for folder in "xy"]
    masks = tmp_path / "masks"
    for number, image in enumerate(images):
        image.parent.mkdir()
        image.write_bytes(encode_png(noise(3, 40, 40, seed=number)))
    (masks / "y").mkdir(parents=True)
    (masks / "y" / "a.png").write_bytes(encode_png((noise(3, 40, 40) > 0.5).float()))
    assert [source.mask for source in sources_of(images, masks, 40)] == [None, masks / "y" / "a.png"]
    (masks / "a.png").write_bytes(encode_png(noise(3, 40, 40)))
    with pytest.raises(UserError, match="could be of several images; name the one of .*x/a.png"):
        sources_of(images, masks, 40)
