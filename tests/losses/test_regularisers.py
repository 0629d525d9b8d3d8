import torch

from tests.conftest import noise
from vitsplice.losses.regularisers import edge_distance, edge_weight, total_variation


def step_edge(size=64, low=0.2, high=0.8):
    light = torch.full((1, 1, size, size), low)
    light[..., size // 2 :] = high
    return light


def test_total_variation_of_a_ramp_is_its_slope():
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    assert total_variation(ramp) == 1.0
    assert total_variation(torch.ones(1, 1, 8, 8)) == 0.0


def test_edge_weight_is_high_for_bright_and_dark_edges():
    bright, dark = edge_weight(step_edge(), 1.0), edge_weight(step_edge(low=0.1, high=0.2), 1.0)
    assert bright.max() > 0.9
    assert dark.max() > 0.8
    assert bright[..., :16].max() < 0.05


def test_edge_distance_counts_only_edges_of_the_target():
    target = step_edge()
    assert edge_distance(target, target) == 0
    assert edge_distance(target + 0.1, target) < 1e-6  # lightness itself does not count
    flat = torch.full_like(target, 0.5)
    speckled = target.clone()
    speckled[..., :8, :8] += 0.3 * noise(1, 1, 8, 8)  # far from the edge
    assert edge_distance(flat, target) > 3 * edge_distance(speckled, target)


def test_edge_distance_of_small_images_is_finite():
    assert torch.isfinite(edge_distance(noise(1, 1, 5, 5), noise(1, 1, 5, 5, seed=1)))
