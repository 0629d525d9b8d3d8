import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.losses.functional import (
    FORMS,
    appearance_loss,
    distance,
    identity_loss,
    self_similarity,
    structure_loss,
)


def keys(batch=2, tokens=5, width=4, seed=0):
    return torch.randn(batch, tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_self_similarity_is_symmetric_and_bounded_with_a_unit_diagonal():
    similarity = self_similarity(keys())
    assert similarity.shape == (2, 5, 5)
    torch.testing.assert_close(similarity, similarity.transpose(1, 2))
    torch.testing.assert_close(similarity.diagonal(dim1=1, dim2=2), torch.ones(2, 5, dtype=torch.float64))
    assert similarity.abs().max() <= 1 + 1e-12


def test_self_similarity_equals_the_cosine_of_each_pair():
    k = keys(batch=1)
    expected = torch.stack([torch.nn.functional.cosine_similarity(k[0, i], k[0], dim=-1) for i in range(5)])
    torch.testing.assert_close(self_similarity(k)[0], expected)


def test_self_similarity_is_invariant_to_scale_and_rotation():
    k = keys()
    rotation, _ = torch.linalg.qr(keys(batch=1, tokens=4, seed=3)[0])
    torch.testing.assert_close(self_similarity(3 * k @ rotation), self_similarity(k))


def test_distance_equals_values_computed_by_hand():
    output, target = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    assert distance(output, target, "mse").item() == pytest.approx((9 + 16 + 0 + 1) / 4)
    assert distance(output, target, "norm").item() == pytest.approx((5 + 1) / 2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", [structure_loss, identity_loss])
def test_loss_is_zero_for_equal_features_and_positive_otherwise(loss, form):
    assert loss(keys(), keys(), form).item() == 0
    assert loss(keys(), keys(seed=1), form).item() > 0


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_zero_for_equal_features(form):
    output = keys().requires_grad_()
    structure_loss(output, keys(), form).backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", [structure_loss, identity_loss])
def test_gradients_agree_with_finite_differences(loss, form):
    output, target = keys().requires_grad_(), keys(seed=1)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, form), (output,))


def test_appearance_gradients_agree_with_finite_differences():
    output, target = keys()[:, 0].requires_grad_(), keys(seed=1)[:, 0]
    assert torch.autograd.gradcheck(lambda x: appearance_loss(x, target, "norm"), (output,))


def test_different_shapes_are_refused():
    with pytest.raises(UserError, match=r"\(2, 5, 4\) and \(2, 6, 4\)"):
        identity_loss(keys(), keys(tokens=6))


def test_unknown_form_is_refused():
    with pytest.raises(UserError, match="'huber' is unknown; it is one of norm, mse"):
        identity_loss(keys(), keys(), "huber")


def test_distance_is_the_mean_over_the_batch():
    scales = torch.tensor([1.0, 100.0], dtype=torch.float64)[:, None, None]
    output, target = keys() * scales, keys(seed=1) * scales
    for form in FORMS:
        each = [distance(output[i : i + 1], target[i : i + 1], form) for i in range(2)]
        torch.testing.assert_close(distance(output, target, form), torch.stack(each).mean())


def test_relative_distance_of_a_single_location_is_that_of_a_global_feature():
    output, target = noise(1, 1, 8), noise(1, 1, 8, seed=1)
    torch.testing.assert_close(distance(output, target, "relative"), distance(output[:, 0], target[:, 0], "relative"))
