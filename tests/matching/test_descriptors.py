import torch

from tests.conftest import noise
from vitsplice.matching import similarity


def test_similarity_ignores_what_all_patches_of_an_image_have_in_common():
    first, second = noise(1, 12, 8), noise(1, 20, 8, seed=1)
    plain = similarity(first, second)
    assert plain.shape == (1, 12, 20)
    torch.testing.assert_close(similarity(first + noise(1, 1, 8, seed=2), second), plain)


def test_similarity_of_an_image_with_itself_is_one():
    values = noise(1, 12, 8)
    torch.testing.assert_close(similarity(values, values)[0].diagonal(), torch.ones(12))
