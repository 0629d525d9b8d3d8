import pytest
import torch

from tests.conftest import noise
from vitsplice.metrics.clustering import CLUSTERS, cluster_patches, mean_iou


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
