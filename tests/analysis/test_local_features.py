from itertools import pairwise

import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.analysis.local_features import heat_map, local_features, patch_at, similarity_map
from vitsplice.analysis.pca import component_maps, pca
from vitsplice.contracts import Features
from vitsplice.errors import ConfigError, UserError
from vitsplice.images import read
from vitsplice.losses.functional import self_similarity


def random_features(rows=3, columns=4, seed=0):
    """Features with a prefix token."""
    return Features(noise(1, 1 + rows * columns, 8, seed=seed) - 0.5, (rows, columns), 1)


def test_features_of_all_layers_equal_those_of_one_layer(png):
    every, last = (local_features(png, backbone="tiny-vit", size=64, layer=layer) for layer in (None, -1))
    assert (list(every.features), list(last.features), every.facet) == ([-3, -2, -1], [-1], "key")
    for first, second in zip(every.features[-1], last.features[-1], strict=True):
        assert torch.equal(first.values, second.values)


def test_results_with_tensors_can_be_compared_and_hashed(png):
    features = [local_features(png, backbone="tiny-vit", size=64) for _ in range(2)]
    results = [*features, *map(component_maps, features)]
    assert len(set(results)) == 4
    assert all(first != second for first, second in pairwise(results))


def test_loaded_backbone_and_images_give_the_features_of_their_names(png, vit):
    images = [read(path) for path in png]
    loaded, named = local_features(images, backbone=vit, size=64), local_features(png, backbone="tiny-vit", size=64)
    assert loaded.images == named.images
    assert all(torch.equal(loaded.features[-1][n].values, named.features[-1][n].values) for n in (0, 1))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"facet": "cls"}, UserError, "facet 'cls' is global"),
        ({"facet": "map"}, ConfigError, "no facet 'map'"),
        ({"layer": 3}, ConfigError, "no layer 3"),
        ({"size": -5}, UserError, "size=-5 is not allowed; it must be at least 1"),
    ],
)
def test_unusable_feature_or_size_is_reported(png, wrong, error, message):
    with pytest.raises(error, match=message):
        local_features(png, backbone="tiny-vit", **wrong)


@pytest.mark.parametrize("analysis", [local_features, pca, cosegment])
def test_no_image_is_reported_before_the_backbone_is_loaded(analysis):
    with pytest.raises(UserError, match="give at least one image"):
        analysis([], backbone="tiny-gone")


def test_components_of_features_equal_those_of_the_images(png):
    features = local_features(png, backbone="tiny-vit", size=64)
    maps = pca(png, backbone="tiny-vit", size=64)
    assert all(torch.equal(*two) for two in zip(component_maps(features).maps[-2], maps.maps[-2], strict=True))


def test_similarity_map_is_a_row_of_the_self_similarity():
    features = random_features()
    expected = self_similarity(features.patches)[0]
    for patch in (0, 5, 11):
        similarities = similarity_map(features, divmod(patch, 4), features)
        assert similarities.shape == features.grid
        torch.testing.assert_close(similarities.flatten(), expected[patch])


def test_similarity_map_has_the_grid_of_the_other_image():
    query, other = random_features(), random_features(2, 5, seed=1)
    expected = torch.cosine_similarity(query.patches[0, 6][None], other.patches[0], dim=1)
    torch.testing.assert_close(similarity_map(query, (1, 2), other).flatten(), expected)


def test_patch_contains_the_point():
    image = torch.zeros(1, 3, 30, 80)
    assert [patch_at(point, image, (3, 4)) for point in ((0, 0), (19.9, 9.9), (20, 10), (79, 29))] == [
        (0, 0), (0, 0), (1, 1), (2, 3),
    ]  # fmt: skip
    assert patch_at((-5, 99), image, (3, 4)) == (2, 0)


def test_heat_map_is_purple_at_the_lowest_and_yellow_at_the_highest_value():
    image = noise(1, 3, 8, 12)
    drawn = heat_map(torch.tensor([[-1.0, 1.0]]), image, opacity=1.0)
    assert drawn.shape == (3, 8, 12)
    low, high = drawn[:, 0, 0], drawn[:, 0, -1]
    assert low[2] > max(low[0], low[1])
    assert min(high[0], high[1]) > 0.8 > high[2]
    assert heat_map(torch.zeros(2, 2), image).isfinite().all()


def test_transparent_heat_map_is_the_grey_image():
    image = noise(1, 3, 8, 12)
    assert torch.equal(heat_map(torch.eye(2), image, opacity=0.0), image[0].mean(0).expand(3, -1, -1))


def test_outline_surrounds_the_patch_and_leaves_its_pixels():
    image, values = noise(1, 3, 60, 80), torch.eye(3, 4)
    plain, marked = heat_map(values, image), heat_map(values, image, patch=(1, 3))
    changed = (plain != marked).any(0)
    assert not changed[20:40, 60:].any()
    assert changed[20:40, 56:60].all()
    assert not changed[:16].any()
    assert not changed[:, :56].any()


def test_patch_is_most_similar_to_itself(png):
    features = local_features(png[:1], backbone="tiny-cnn", size=64).features[-2][0]
    rows, columns = features.grid
    similarities = similarity_map(features, (rows - 1, 0), features)
    assert divmod(int(similarities.argmax()), columns) == (rows - 1, 0)
