import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.losses.transport import cosine_cost, relaxed_earth_mover, sliced_wasserstein


def test_relaxed_earth_mover_equals_values_computed_by_hand():
    cost = torch.tensor([[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]])
    assert relaxed_earth_mover(cost) == 2.0  # rows: (0 + 1) / 2; columns: (0 + 2 + 4) / 3
    assert relaxed_earth_mover(cost, torch.tensor([[1.0, 0.0, 0.0]])) == 0.5


def test_distances_do_not_depend_on_the_order():
    ours = noise(1, 9, 4)
    theirs = ours[:, torch.randperm(9, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(relaxed_earth_mover(cosine_cost(ours, theirs)), torch.tensor(0.0), atol=1e-6, rtol=0)
    directions = F.normalize(noise(4, 5), dim=0)
    torch.testing.assert_close(sliced_wasserstein(ours[0], theirs[0], directions), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    points, directions = noise(50, 2), torch.eye(2)
    shifted = points + torch.tensor([0.5, 0.0])
    torch.testing.assert_close(sliced_wasserstein(points, shifted, directions), torch.tensor(0.25))


def test_gradients_agree_with_finite_differences():
    ours = noise(1, 5, 3, dtype=torch.float64).requires_grad_()
    theirs, directions = noise(1, 5, 3, seed=1, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: relaxed_earth_mover(cosine_cost(x, theirs)), ours)
    assert torch.autograd.gradcheck(lambda x: sliced_wasserstein(x[0], theirs[0], directions), ours)
