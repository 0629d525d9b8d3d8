"""IoU of scenes with a known answer: a square, and the same square shifted by whole patches."""

import math

import pytest
import torch

from tests.conftest import noise
from tests.metrics.conftest import PATCH, SIDE, case, scene
from vitsplice.contracts import MetricContext
from vitsplice.metrics.segments import (
    CLUSTERS,
    cluster_mask_iou,
    cluster_patches,
    clusters_inside,
    cosegmentation,
    mask_iou,
    mean_iou,
)

PATCHES = (SIDE // PATCH) ** 2
SHIFTS = [(12, 0, 0), (12, 3, 0), (12, 3, 5), (10, 10, 0), (20, 1, 1)]


def shifted(side, right, down, patch=PATCH):
    structure, mask = scene(6, 8, side, patch)
    return case(structure, scene(6 + right, 8 + down, side, patch)[0], mask=mask)


def iou(side, right, down):
    """IoU of a square and the shifted square."""
    overlap = max(side - right, 0) * max(side - down, 0)
    return overlap / (2 * side * side - overlap)


@pytest.mark.parametrize(("side", "right", "down"), SHIFTS)
def test_shifted_square_has_the_iou_of_the_squares(context, side, right, down):
    images = shifted(side, right, down)
    square = iou(side, right, down)
    assert cluster_mask_iou(context).value(images) == pytest.approx(square)
    overlap = max(side - right, 0) * max(side - down, 0)
    background = (PATCHES - 2 * side * side + overlap) / (PATCHES - overlap)
    assert cosegmentation(context).value(images) == pytest.approx((square + background) / 2)


def test_cluster_mask_iou_is_nan_without_a_mask(context):
    assert math.isnan(cluster_mask_iou(context).value(case(*[scene(1, 1, 4)[0]] * 2)))


def test_output_of_background_colour_has_cluster_mask_iou_0_at_any_size(context):
    structure, mask = scene(6, 8, 12)
    for size in ((SIDE, SIDE), (100, 50)):
        output = structure[..., :1, :1].expand(1, 3, *size)
        assert cluster_mask_iou(context).value(case(structure, output, mask=mask)) == 0


def test_clusters_are_inside_the_mask_by_majority():
    labels, mask = torch.tensor([0, 0, 0, 1, 1, 5]), torch.tensor([True, True, False, True, False, True])
    assert clusters_inside(labels, mask).tolist() == [True, False, False, False, False, True]


def test_iou_of_masks():
    first, second = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert mask_iou(first, second) == pytest.approx(1 / 3)
    assert math.isnan(mask_iou(first & False, first & False))


def test_mean_iou_equals_a_value_computed_by_hand():
    labels, true = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert mean_iou(labels, true) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_distinct_groups_of_patches_are_clusters():
    groups = torch.arange(CLUSTERS).repeat(5)
    labels = cluster_patches(10 * torch.eye(CLUSTERS, 9)[groups] + 0.1 * noise(len(groups), 9))
    assert labels[:CLUSTERS].unique().numel() == CLUSTERS
    assert torch.equal(labels, labels[:CLUSTERS][groups])


def test_patches_leave_the_device_before_they_become_float64(conversions):
    cluster_patches(noise(8, 4))
    assert conversions == ["cpu", "double"]


@pytest.mark.weights
def test_keys_of_a_trained_vit_give_the_known_iou(trained_backbones):
    context = MetricContext(trained_backbones.load, "dinov2-vits14-offline")
    for right in (0, 4):
        images = shifted(8, right, 0, patch=14)
        assert cluster_mask_iou(context).value(images) == pytest.approx(iou(8, right, 0))
    assert cosegmentation(context).value(shifted(8, 0, 0, patch=14)) == 1
