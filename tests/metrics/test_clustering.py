import pytest
import torch

from tests.conftest import noise
from vitsplice.metrics.clustering import kmeans, mean_iou


def test_mean_iou_equals_a_value_computed_by_hand():
    labels, true = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert mean_iou(labels, true) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_kmeans_recovers_distant_groups():
    groups = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).repeat_interleave(20, 0) + noise(60, 2)
    clusters = kmeans(groups, 3).reshape(3, 20)
    assert (clusters == clusters[:, :1]).all()
    assert len(clusters[:, 0].unique()) == 3
