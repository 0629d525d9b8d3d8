import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.images.transforms import resized
from vitsplice.matching import describe_image
from vitsplice.matching.description import FURTHER_VARIANCE


def variance(descriptors):
    return descriptors[0].var(0, correction=0).sum().item()


@pytest.fixture
def image():
    return resized(noise(1, 3, 6, 8), (48, 64)).clamp(0, 1)


def test_features_of_further_backbones_are_joined_with_their_share_of_the_variance(vit, cnn, image):
    plain, further = (describe_image(image, vit, 6, mirror=True, further_backbones=[cnn] * n) for n in (0, 2))
    assert plain.grid == further.grid
    for alone, joined in ((plain.descriptors, further.descriptors), (plain.mirrored, further.mirrored)):
        own, appended = joined.tensor_split([alone.shape[-1]], -1)
        assert torch.equal(own, alone)
        shares = [variance(part) / variance(own) for part in appended.chunk(2, -1)]
        assert shares == pytest.approx([FURTHER_VARIANCE] * 2, rel=1e-4)


def test_further_backbone_is_mirrored_with_the_image(vit, cnn, image):
    description = describe_image(image, vit, 6, mirror=True, further_backbones=[cnn])
    of_mirror_image = describe_image(image.flip(-1), vit, 6, mirror=False, further_backbones=[cnn])
    expected = of_mirror_image.descriptors.unflatten(1, description.grid).flip(2).flatten(1, 2)
    torch.testing.assert_close(description.mirrored, expected)


def test_uniform_image_has_finite_descriptors(vit, cnn):
    grey = torch.full((1, 3, 48, 64), 0.5)
    assert describe_image(grey, vit, 6, mirror=False, further_backbones=[cnn]).descriptors.isfinite().all()


def test_features_of_one_location_are_not_scaled_up(vit, cnn, image):
    alone, joined = (describe_image(image, vit, 2, mirror=False, further_backbones=more) for more in ((), (cnn,)))
    assert cnn(resized(image, (32, 32)), [cnn.info.structure])[cnn.info.structure].grid == (1, 1)
    appended = joined.descriptors[..., alone.descriptors.shape[-1] :]
    assert appended.abs().max() < alone.descriptors.abs().max()


def test_name_of_a_further_backbone_is_refused(vit, image):
    with pytest.raises(UserError, match=r"load it: vitsplice.load_backbone\('cnn'\)"):
        describe_image(image, vit, 6, mirror=False, further_backbones=["cnn"])
