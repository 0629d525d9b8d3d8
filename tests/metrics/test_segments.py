"""IoU where it has a known answer: 1 for the image itself, that of two squares for a shifted one."""

import math

import pytest
import torch

from tests.metrics.conftest import PLACE, SIDE, case, scene
from vitsplice.contracts import MetricContext
from vitsplice.metrics.segments import against_mask, cosegmentation, inside, mask_iou

PLACES = (SIDE // PLACE) ** 2
SHIFTS = [(12, 0, 0), (12, 3, 0), (12, 3, 5), (10, 10, 0), (20, 1, 1)]


def shifted(side, right, down, place=PLACE):
    structure, mask = scene(6, 8, side, place)
    return case(structure, scene(6 + right, 8 + down, side, place)[0], mask=mask)


def iou(side, right, down):
    """Of a square and a shifted one."""
    overlap = max(side - right, 0) * max(side - down, 0)
    return overlap / (2 * side * side - overlap)


@pytest.mark.parametrize(("side", "right", "down"), SHIFTS)
def test_a_shifted_square_has_the_iou_of_the_squares(context, side, right, down):
    shown = shifted(side, right, down)
    square = iou(side, right, down)
    assert against_mask(context).value(shown) == pytest.approx(square)
    overlap = max(side - right, 0) * max(side - down, 0)
    ground = (PLACES - 2 * side * side + overlap) / (PLACES - overlap)
    assert cosegmentation(context).value(shown) == pytest.approx((square + ground) / 2)


def test_without_a_mask_there_is_no_figure(context):
    assert math.isnan(against_mask(context).value(case(*[scene(1, 1, 4)[0]] * 2)))


def test_an_output_of_one_colour_has_nothing_of_the_square_whatever_its_size(context):
    structure, mask = scene(6, 8, 12)
    for size in ((SIDE, SIDE), (100, 50)):
        output = structure[..., :1, :1].expand(1, 3, *size)
        assert against_mask(context).value(case(structure, output, mask=mask)) == 0


def test_clusters_belong_to_the_mask_by_most_of_their_places():
    labels, mask = torch.tensor([0, 0, 0, 1, 1, 5]), torch.tensor([True, True, False, True, False, True])
    assert inside(labels, mask).tolist() == [True, False, False, False, False, True]


def test_iou_of_masks():
    one, two = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert mask_iou(one, two) == pytest.approx(1 / 3)
    assert math.isnan(mask_iou(one & False, one & False))


@pytest.mark.weights
@pytest.mark.parametrize("name", ["dinov2-vits14-offline"])
def test_the_keys_of_a_trained_vit_give_the_same_answer(real_networks, name):
    context = MetricContext(real_networks.load, name)
    for right in (0, 2, 4):
        shown = shifted(8, right, 0, place=14)
        assert against_mask(context).value(shown) == pytest.approx(iou(8, right, 0))
    assert cosegmentation(context).value(shifted(8, 0, 0, place=14)) == 1
