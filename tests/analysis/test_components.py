import torch

from tests.conftest import noise
from vitsplice.analysis.components import as_blocks, components, with_edges
from vitsplice.contracts import Features


def parts(height=8, width=10, prefix=1):
    """Features of two parts, left and right, and a third in a corner, with a little noise and a prefix row."""
    maps = torch.zeros(height, width, 16)
    maps[:, : width // 2, 0] = 1
    maps[:, width // 2 :, 1] = 1
    maps[:2, :2] = torch.eye(16)[2]
    values = torch.cat([torch.full((prefix, 16), 9.0), (maps + 0.02 * noise(height, width, 16)).flatten(0, 1)])
    return Features(values[None], (height, width), prefix)


def test_parts_have_colours_of_their_own():
    (maps,) = components([parts()]).maps
    assert maps.shape == (3, 8, 10)
    left, right, corner = maps[:2, 4:, :5], maps[:2, 4:, 5:], maps[:2, :2, :2]  # three parts differ in two ways
    for one, two in ((left, right), (left, corner), (right, corner)):
        within = max(one.flatten(1).std(1).max(), two.flatten(1).std(1).max())
        assert (one.flatten(1).mean(1) - two.flatten(1).mean(1)).abs().max() > 4 * within


def test_the_same_as_an_eigendecomposition_by_svd():
    features = parts()
    rows = torch.nn.functional.normalize(features.patches[0].double(), dim=-1)
    rows = rows @ rows.T
    _, singular, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    found = components([features])
    expected = (singular.square() / singular.square().sum())[:3].float()
    torch.testing.assert_close(found.explained, expected, atol=1e-5, rtol=1e-4)
    scores = (rows - rows.mean(0)) @ vectors[0]
    assert torch.corrcoef(torch.stack([scores.float(), found.maps[0][0].flatten()]))[0, 1].abs() > 0.95


def test_signs_do_not_depend_on_the_order_of_places():
    features = parts(prefix=0)
    turned = Features(features.values.flip(1), features.grid)
    torch.testing.assert_close(
        components([turned]).maps[0].flip(1, 2), components([features]).maps[0], atol=1e-4, rtol=0
    )


def test_signs_follow_the_larger_excursions():
    features = parts(prefix=0)
    turned = Features(-features.values, features.grid)
    found, again = (components([one], "features").maps[0] for one in (features, turned))
    torch.testing.assert_close(found, again, atol=1e-4, rtol=0)


def test_several_images_share_their_colours():
    together = components([parts(), parts(6, 6)])
    assert [tuple(maps.shape) for maps in together.maps] == [(3, 8, 10), (3, 6, 6)]
    for at in ((5, 1), (5, -1)):
        one, two = (maps[:, at[0], at[1]] for maps in together.maps)
        assert (one - two).abs().max() < 0.15


def test_of_features_as_they_are():
    raw = components([parts()], "features")
    assert 0.5 < raw.explained.sum() <= 1.0
    assert not torch.equal(raw.maps[0], components([parts()]).maps[0])


def test_blocks_and_edges_have_the_images_size():
    (maps,) = components([parts()]).maps
    blocks = as_blocks(maps, (80, 100))
    assert torch.equal(blocks[:, ::10, ::10], maps)
    image = torch.zeros(1, 3, 80, 100)
    image[..., 47:] = 1
    edges = with_edges(maps, image)
    assert edges.shape == (3, 80, 100)
    assert 0 <= edges.min() <= edges.max() <= 1
    jump = edges[:, 60].diff(dim=-1).abs().sum(0)
    assert jump.argmax() == 46  # the image's edge, not the grid's, which lies at 50
