import pytest
import torch

from vitsplice.metrics.clustering import mean_iou


def test_mean_iou_equals_a_value_computed_by_hand():
    labels, true = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert mean_iou(labels, true) == pytest.approx((1 / 2 + 2 / 3) / 2)
