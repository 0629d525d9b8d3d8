import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, MatchedImage, correspond, match_vectors
from vitsplice.matching.guide import NEIGHBOURHOOD, RANK, guide


def low_rank(*grids):
    """Correspondence of patches on two grids by random descriptors: the rank of the similarities is at most 6."""
    first, second = (F.normalize(noise(h * w, 6, seed=seed) - 0.5, dim=-1) for seed, (h, w) in enumerate(grids))
    similarity = first @ second.T
    return Correspondence((similarity / 0.05).softmax(1), similarity, grids[0], (MatchedImage(grids[1]),))


def colours_of(image, grid):
    maps = F.adaptive_avg_pool2d(to_lab(image), grid)
    return F.avg_pool2d(maps, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False).flatten(2)[0].T


def products(vectors):
    first, second = (features.patches[0] for features in vectors.features())
    return first @ second.T


def test_guide_is_between_minus_one_and_one(vit):
    first, second = noise(1, 3, 48, 64), noise(1, 3, 56, 40, seed=1)
    match = correspond(first, second, vit, grid=6)
    values = guide(match, colours_of(second, match.other_grid))
    assert values.shape == match.similarity.shape
    assert -1 <= values.min() <= values.max() <= 1


def test_guide_of_the_assigned_colour_is_above_that_of_another():
    match = Correspondence(torch.eye(2), torch.zeros(2, 2), (1, 2), (MatchedImage((1, 2)),))
    values = guide(match, torch.tensor([[0.1, 0.0, 0.0], [0.9, 0.0, 0.0]]))
    torch.testing.assert_close(values.diag(), torch.full((2,), 0.5))
    torch.testing.assert_close(values[[0, 1], [1, 0]], torch.full((2,), -0.5), atol=1e-6, rtol=0)


def test_vectors_give_the_guide_of_a_smooth_correspondence():
    match = low_rank((12, 15), (14, 11))
    image = F.interpolate(noise(1, 3, 4, 4), size=(70, 55), mode="bilinear")
    vectors = match_vectors(match, image)
    assert vectors.structure.shape == (1, RANK, 12, 15)
    assert vectors.appearance.shape == (1, RANK, 14, 11)
    torch.testing.assert_close(products(vectors), guide(match, colours_of(image, (14, 11))), atol=0.02, rtol=0)


def test_vectors_give_the_guide_exactly_for_few_patches():
    match, image = low_rank((5, 6), (9, 9)), noise(1, 3, 45, 45)
    values = guide(match, colours_of(image, (9, 9)))
    torch.testing.assert_close(products(match_vectors(match, image)), values, atol=1e-5, rtol=0)


def test_vectors_of_images_with_different_grids_are_on_a_grid_of_the_greatest_height_and_width():
    grids, images = ((4, 6), (6, 3)), [noise(1, 3, 48, 48, seed=seed) for seed in (0, 1)]
    similarity = noise(12, 42)
    match = Correspondence(similarity.softmax(1), similarity, (3, 4), tuple(map(MatchedImage, grids)))
    vectors = match_vectors(match, *images)
    assert vectors.appearance.shape == (2, 12, 6, 6)
    values = guide(match, torch.cat([colours_of(*pair) for pair in zip(images, grids, strict=True)]))
    vectors_of_second = F.interpolate(vectors.appearance[1:], size=(6, 3), mode="nearest-exact").flatten(2)[0].T
    assert vectors.structure.flatten(2)[0].T.matmul(vectors_of_second.T).sub(values[:, 24:]).abs().mean() < 0.1


def test_vectors_do_not_depend_on_the_random_state():
    match, image = low_rank((12, 12), (12, 12)), noise(1, 3, 60, 60)
    first = match_vectors(match, image)
    state = torch.get_rng_state()
    torch.rand(3)
    assert torch.equal(match_vectors(match, image).structure, first.structure)
    torch.set_rng_state(state)
