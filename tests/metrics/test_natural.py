"""Natural scene statistics: fits of known distributions, known distances, and photographs and their distortions."""

import math

import kornia
import numpy as np
import pytest
import torch
from scipy import stats

from tests.conftest import noise
from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Case, MetricContext
from vitsplice.errors import VitspliceError
from vitsplice.images import read, resize_to
from vitsplice.metrics import natural

METRIC = natural.natural_statistics(MetricContext(None, "x"))


def pink(seed, side=256):
    """An image whose amplitude spectrum is 1/f, as that of photographs, ``(1, 3, side, side)``."""
    spectrum = torch.fft.rfft2(noise(1, 1, side, side, seed=seed) - 0.5)
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)).clamp(min=1 / side)
    image = torch.fft.irfft2(spectrum / frequency)
    return (0.5 + 0.15 * image / image.std()).clamp(0, 1).expand(-1, 3, -1, -1)


def value(output, structure, appearance):
    return METRIC.value(Case("c", structure, appearance, output))


def painted(image):
    return kornia.filters.median_blur(image, (5, 5))


def blurred(image):
    return kornia.filters.gaussian_blur2d(image, (7, 7), (1.0, 1.0))


def noisy(image):
    return (image + 0.1 * (noise(*image.shape, seed=9) - 0.5)).clamp(0, 1)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.5, 2.0)])
def test_fit_recovers_a_known_distribution(shape, left, right):
    samples = torch.tensor(stats.gennorm.rvs(shape, size=400_000, random_state=0))
    is_left = torch.rand(samples.shape, generator=torch.Generator().manual_seed(1)) < left / (left + right)
    samples = torch.where(is_left, -left * samples.abs(), right * samples.abs())
    fitted = natural.fit(natural.moments(samples).mean(-1))
    assert [float(parameter) for parameter in fitted] == pytest.approx([shape, left, right], rel=0.05)


def test_fit_to_symmetric_samples_has_their_moments():
    samples = torch.tensor(stats.gennorm.rvs(1.3, size=(3, 5000), random_state=0))
    samples = torch.cat([samples, -samples], 1)
    shape, left, right = natural.fit(natural.moments(samples).mean(-1))
    assert torch.allclose(left, right)
    for row, exponent, scale in zip(samples, shape.tolist(), left.tolist(), strict=True):
        assert stats.gennorm.std(exponent, scale=scale) == pytest.approx(float(row.square().mean().sqrt()))
        ratio = float(row.abs().mean() / row.square().mean().sqrt())
        assert stats.gennorm.expect(np.abs, (exponent,)) / stats.gennorm.std(exponent) == pytest.approx(ratio, rel=1e-3)


def test_normalised_luminance_of_noise_has_mean_0_and_deviation_of_about_1_at_any_brightness():
    luminance = 127 + 40 * torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    normalised = natural.normalised_luminance(luminance)
    brighter = natural.normalised_luminance(luminance + 30)
    assert abs(float(normalised.mean())) < 0.05
    assert 0.7 < float(normalised.std()) < 1.3
    assert torch.allclose(normalised, brighter, atol=1e-3)


def test_distance_of_samples_with_known_moments():
    unit = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    variance = torch.cov(unit.T)[0, 0]
    moved = unit + torch.tensor([3.0, 4.0])
    assert natural.distance(unit, unit) == 0
    assert natural.distance(unit, moved) == pytest.approx(5 / math.sqrt(variance))
    assert natural.distance(unit, moved * 2) == pytest.approx(10 / math.sqrt((1 + 4) / 2 * variance))


def test_features_are_18_at_each_of_two_scales_for_each_patch():
    features = natural.features(pink(1, side=128), 128)
    assert features.shape == (14 * 14, 36)
    assert features.dtype == torch.float64
    half = Resize().to(pink(1, side=128), (64, 64))
    assert torch.allclose(natural.features(half, 64)[:, :18], features[:, 18:], atol=1e-2)


def test_moments_leave_the_device_before_they_become_float64(conversions):
    natural.features(pink(1, side=32), 32)
    assert conversions == ["cpu", "double"] * 2


def test_output_that_equals_both_photographs_has_distance_0():
    assert value(pink(1), pink(1), pink(1)) == pytest.approx(0, abs=1e-6)


def test_distance_of_an_image_with_natural_statistics_is_small():
    structure, appearance = pink(1), pink(2)
    assert value(structure, structure, appearance) < 1
    assert value(pink(3), structure, appearance) < 2


@pytest.mark.parametrize("distort", [painted, blurred, noisy])
def test_distortion_of_natural_statistics_increases_the_distance(distort):
    structure, appearance = pink(1), pink(2)
    assert value(distort(structure), structure, appearance) > 3


def test_measured_sizes_follow_the_smaller_photograph_the_maximum_size_and_the_maximum_ratio():
    sizes = natural.measured_sizes(torch.zeros(1, 3, 600, 1200), torch.zeros(1, 3, 901, 300))
    assert sizes == [(300, 600), (900, 300)]
    assert natural.measured_sizes(torch.zeros(1, 3, 1024, 1536)) == [(512, 768)]
    assert natural.measured_sizes(torch.zeros(1, 3, 100, 3200)) == [(24, 800)]


def test_output_is_measured_at_the_size_of_the_structure_image(monkeypatch):
    sizes, features = [], natural.features
    monkeypatch.setattr(natural, "features", lambda image, side: sizes.append(image.shape[2:]) or features(image, side))
    value(pink(1, side=128), pink(2, side=96)[..., :64], pink(3, side=64))
    assert sizes == [(96, 64), (64, 64), (96, 64)]


def test_image_that_is_too_thin_is_an_error():
    thin = torch.zeros(1, 3, 16, 512)
    with pytest.raises(VitspliceError, match="its shorter side would be 4 px when it is measured"):
        value(thin, thin, thin)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_uniform_image_has_a_finite_distance(level):
    uniform = torch.full((1, 3, 64, 64), level)
    assert value(uniform, uniform, uniform) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(value(uniform, pink(1, side=64), pink(2, side=64)))
    assert math.isfinite(value(pink(1, side=64), uniform, uniform))


@pytest.mark.weights
@pytest.mark.parametrize("pair", ["bears", "geese", "horse-zebra", "panda"])
def test_photographs_published_outputs_and_distortions_are_in_the_order_of_their_naturalness(shared, monkeypatch, pair):
    monkeypatch.setattr(natural, "SIZE", 384)
    names = ("structure", "appearance", "published_splice")
    structure, appearance, published = (read(shared / "pairs" / pair / f"{name}.jpg").pixels for name in names)
    unchanged = value(structure, structure, appearance)
    small = kornia.color.rgb_to_grayscale(resize_to(structure, 384))  # the metric measures the luminance only
    distorted = [value(distort(small).expand(-1, 3, -1, -1), structure, appearance) for distort in (painted, blurred)]
    assert unchanged < 1.5 < value(published, structure, appearance) < min(distorted)
