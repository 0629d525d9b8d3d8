import pytest
import torch
import torch.nn.functional as F
from discs import disc, iou

from vitsplice.contracts import FeatureRequest, Features
from vitsplice.errors import UserError
from vitsplice.matching.cosegmentation import (
    _cleaned,
    attention_requests,
    border_distance,
    cls_attention,
    common_foreground,
    common_parts,
    mask_on_grid,
)

DISCS = [disc(), disc((60, 70), 34, seed=1), disc((70, 58), 42, seed=2)]


def colours(image, grid=(32, 32)):
    """Mean colours of patches as local features."""
    return Features.from_maps(F.adaptive_avg_pool2d(image[None], grid))


def segmented(images, parts=2):
    features = list(map(colours, images))
    foreground = common_foreground(features, [border_distance((32, 32))] * len(images), clusters=3)
    return common_parts(features, foreground, parts)


def on_patch_grid(labels):
    """Sample labels ``(H, W)`` on the patch grid."""
    return F.interpolate(labels[None, None].float(), size=(32, 32), mode="nearest")[0, 0].long()


def test_foreground_and_parts_agree_with_the_known_labels():
    labels = segmented([image for image, _ in DISCS])
    left = int(labels[0][16, 10])  # label of the left half of the first disc
    for own, (_, known_labels) in zip(labels, DISCS, strict=True):
        known = on_patch_grid(known_labels)
        assert iou(own > 0, known > 0) > 0.9
        assert iou(own == left, known == 1) > 0.75
        assert iou(own == 3 - left, known == 2) > 0.75


def test_order_of_images_does_not_matter_and_equal_images_have_equal_labels():
    first, second, third = (image for image, _ in DISCS)
    labels = segmented([first, second, third, second])
    assert torch.equal(labels[1], labels[3])
    permuted = segmented([third, second, second, first])
    assert all(torch.equal(labels[i], permuted[j]) for i, j in ((0, 3), (1, 1), (2, 0), (3, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vit", "cnn"])
def test_features_of_a_network_separate_a_disc_from_its_background(network, request):
    backbone = request.getfixturevalue(network)
    images = [F.interpolate(image[None], size=(256, 256), mode="bilinear") for image, _ in DISCS[:2]]
    first_layer = FeatureRequest(backbone.info.structure.facet, 0)
    features = [backbone(image, [first_layer])[first_layer] for image in images]
    grid = features[0].grid
    masks = common_foreground(features, [border_distance(grid)] * 2)
    for own, (_, labels) in zip(masks, DISCS, strict=False):
        known = F.interpolate(labels[None, None].float(), size=grid, mode="nearest")[0, 0] > 0
        assert iou(own, known) > 0.7


def test_parts_are_numbered_by_size():
    counts = torch.bincount(segmented([DISCS[0][0]], parts=3)[0].flatten(), minlength=4)[1:]
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)


def test_a_cluster_for_which_a_minority_of_its_patches_vote_is_background():
    first, second = (image for image, _ in DISCS[:2])
    features = [colours(first), colours(second), colours(second)]
    centre = border_distance((32, 32))
    masks = common_foreground(features, [centre, centre.max() - centre, centre.max() - centre], 3)
    assert not masks[0][16, 16]
    assert masks[0][0, 0]


def test_small_holes_are_filled_and_specks_removed():
    image, _ = disc()
    image[:, 56:68, 56:68] = image[:, :1, :1]  # a hole
    image[:, 100:104, 4:8] = image[:, 64:65, 50:51]  # a speck
    (own,) = segmented([image], parts=1)
    assert own[15, 15] == 1
    assert own[25, 1] == 0


def test_small_background_at_the_border_is_no_hole():
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[:4, :5] = mask[10:14, 10:14] = False
    cleaned = _cleaned(mask)
    assert not cleaned[:4, :5].any()
    assert cleaned.sum() == 32 * 32 - 20


def test_small_mask_does_not_vanish_on_a_coarser_grid_and_an_empty_one_remains_empty():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    assert not mask_on_grid(mask, (4, 4)).any()
    mask[2, 3] = True
    assert mask_on_grid(mask, (4, 4)).nonzero().tolist() == [[1, 1]]
    mask[2:4, :4] = True
    assert mask_on_grid(mask, (4, 4)).nonzero().tolist() == [[1, 0], [1, 1]]


def test_patches_of_a_mask_are_averaged_on_a_grid_four_times_coarser():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4, 8] = True
    assert mask_on_grid(mask, (4, 4)).nonzero().tolist() == [[1, 2]]
    mask[8:12, 8:11] = True
    assert mask_on_grid(mask, (4, 4)).nonzero().tolist() == [[2, 2]]


def test_uniform_images_have_no_foreground():
    with pytest.raises(UserError, match="no common foreground"):
        common_foreground([colours(torch.full((3, 32, 32), 0.5))], [torch.ones(32, 32)])


def test_cls_attention_is_the_sum_of_the_logits_of_the_heads(vit):
    requests = attention_requests(vit.info)
    features = vit(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), requests)
    query, key = (features[request] for request in requests)
    heads = [(q[0, 0] @ k[0, 1:].T) for q, k in zip(query.values.chunk(2, -1), key.values.chunk(2, -1), strict=True)]
    torch.testing.assert_close(cls_attention(query, key).flatten(), sum(heads))


def test_backbones_without_cls_token_have_no_attention(cnn):
    assert attention_requests(cnn.info) == ()


def test_border_distance_is_zero_only_at_the_border():
    assert torch.equal(border_distance((4, 5)) > 0, F.pad(torch.ones(2, 3), (1, 1, 1, 1)) > 0)
