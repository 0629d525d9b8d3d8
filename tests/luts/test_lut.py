import kornia
import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.luts import Lut, colour_difference, fit_lut


def graded(image):
    """A known change of colours: a gamma, a mix of channels, a gain."""
    red, green, blue = image
    return torch.stack([red**1.3, 0.7 * green + 0.2 * red, 0.1 + 0.8 * blue])


def test_identity_changes_no_colour():
    image = noise(3, 32, 48)
    torch.testing.assert_close(Lut.identity(9).apply(image), image)


def test_a_known_change_of_colours_is_recovered_between_the_fitted_colours():
    seen, unseen = noise(3, 96, 96), noise(3, 96, 96, seed=1)
    lut = Lut.fit(seen, graded(seen), size=17, smoothness=0.05)
    assert colour_difference(lut.apply(unseen), graded(unseen)).mean < 0.2


def test_the_default_smoothness_recovers_a_known_change_of_a_smooth_image():
    ramps = torch.stack(torch.meshgrid(*[torch.linspace(0.2, 0.8, 24)] * 3, indexing="ij")).reshape(3, 96, 144)
    assert fit_lut(ramps, graded(ramps), size=17).error.mean < 2


def test_a_lut_is_fitted_to_images_that_require_gradients():
    image = noise(3, 16, 16).requires_grad_()
    assert fit_lut(image, image * 0.5, size=3).unchanged.mean > 0


@pytest.mark.parametrize("contrast", [0.3, 0.05, 0.0])
def test_an_image_of_little_contrast_gets_most_of_the_change(contrast):
    source = 0.6 + contrast * (noise(3, 64, 64) - 0.5)
    fitted = fit_lut(source, source * 0.5)
    assert fitted.unchanged.mean > 25
    assert fitted.error.mean < 0.25 * fitted.unchanged.mean


@pytest.mark.parametrize(
    ("second", "mask", "message"),
    [
        (noise(3, 16, 20), torch.zeros(1, 16, 20), "excludes every pixel"),
        (noise(3, 16, 20), torch.ones(1, 20, 16), "must have the same size"),
        (noise(3, 20, 16), None, "must have the same size"),
    ],
)
def test_colour_difference_of_no_pixel_or_of_other_sizes_is_refused(second, mask, message):
    with pytest.raises(UserError, match=message):
        colour_difference(noise(3, 16, 20), second, mask)


def test_colour_difference_accepts_images_that_require_gradients():
    image = noise(3, 16, 16).requires_grad_()
    assert colour_difference(image, image * 0.5).mean > 0


@pytest.mark.parametrize("function", [colour_difference, fit_lut])
def test_an_image_that_is_not_a_tensor_is_refused(function):
    with pytest.raises(UserError, match="must be a tensor"):
        function(noise(3, 16, 16).tolist(), noise(3, 16, 16))


def test_colours_far_from_those_of_the_image_hardly_change():
    dark = noise(3, 32, 32) * 0.05
    lut = Lut.fit(dark, dark + 0.3, size=17)
    near, far = lut.values[0, 0, 0], lut.values[-1, -1, -1]
    assert near.mean() > 0.25
    assert (1 - far).max() < 0.05


def test_a_change_decays_over_the_same_distance_with_any_number_of_lattice_points():
    dark, greys = noise(3, 32, 32) * 0.1, torch.linspace(0.2, 0.8, 32).expand(3, 32, 32)
    coarse, fine = (Lut.fit(dark, dark + 0.2, size=size).apply(greys) for size in (9, 33))
    assert (fine - greys).max() > 0.05
    assert (coarse - fine).abs().max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("size", [9, 33])
def test_a_strong_change_of_noisy_colours_is_fitted_smoothly_and_not_weakened(size):
    source = 0.25 + 0.5 * noise(3, 64, 64)
    target = (source.flip(0) + 0.2 * (noise(3, 64, 64, seed=1) - 0.5)).clamp(0, 1)
    lut = Lut.fit(source, target, size=size)
    assert colour_difference(lut.apply(source), source.flip(0)).mean < 6
    assert colour_difference(source, source.flip(0)).mean > 25


@pytest.mark.slow
@pytest.mark.parametrize("smoothness", [0.01, 20.0])
def test_values_and_outputs_stay_in_0_to_1(smoothness):
    source, target = noise(3, 32, 32), noise(3, 32, 32, seed=1).round()
    lut = Lut.fit(source, target, size=9, smoothness=smoothness)
    for values in (lut.values, lut.apply(source)):
        assert values.min() >= 0
        assert values.max() <= 1


def test_only_pixels_inside_the_mask_are_used():
    image = noise(3, 32, 32)
    mask = torch.zeros(1, 32, 32)
    mask[..., :16] = 1
    target = torch.where(mask > 0, image * 0.5, 1 - image)
    inside = Lut.fit(image[..., :16], image[..., :16] * 0.5, size=9)
    torch.testing.assert_close(Lut.fit(image, target, mask=mask, size=9).values, inside.values)


def test_applying_equals_trilinear_interpolation_by_formula():
    lut = Lut(noise(3, 3, 3, 3))
    colour = torch.tensor([0.3, 0.6, 0.9])
    position = colour * 2
    low = position.long()
    expected = torch.zeros(3)
    for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
        share = torch.where(corner == 1, position - low, 1 - position + low).prod()
        expected += share * lut.values[tuple(low + corner)]
    torch.testing.assert_close(lut.apply(colour[:, None, None].expand(3, 16, 16))[:, 0, 0], expected)


def test_applying_to_a_batch_equals_applying_to_each_image():
    lut, images = Lut(noise(5, 5, 5, 3)), noise(2, 3, 16, 20)
    torch.testing.assert_close(lut.apply(images), torch.stack([lut.apply(image) for image in images]))


def test_colours_outside_the_domain_are_clamped_to_it():
    lut = Lut(0.2 + 0.6 * Lut.identity(2).values, ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75)))
    image = torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(3, 16, 16)
    torch.testing.assert_close(lut.apply(image)[:, 0, 0], torch.tensor([0.2, 0.5, 0.8]))


def test_colour_difference_is_the_distance_in_lab():
    first, second = noise(3, 16, 16), noise(3, 16, 16, seed=1)
    lab = [kornia.color.rgb_to_lab(image[None]) for image in (first, second)]
    distance = (lab[0] - lab[1]).square().sum(1).sqrt()
    assert colour_difference(first, second).mean == pytest.approx(float(distance.mean()), rel=1e-4)
    assert colour_difference(first, first).percentile_95 == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": noise(3, 16, 16).numpy()}, "not an ndarray"),
        ({"target": noise(3, 16, 20)}, "16x16 and 20x16 px"),
        ({"mask": torch.zeros(1, 16, 16)}, "excludes every pixel"),
        ({"mask": torch.ones(1, 16, 20)}, "must have the same size"),
        ({"mask": torch.ones(3, 16, 16)}, r"must have one channel; its shape is \(3, 16, 16\)"),
        ({"mask": torch.ones(16)}, "must have the same size, not 16x16 and 16x16 and 16 px"),
        ({"size": 1}, "size=1 is not allowed; it must be a whole number from 2 to 256"),
        ({"size": 2.5}, "size=2.5 is not allowed"),
    ],
)
def test_invalid_arguments_of_a_fit_are_refused(arguments, message):
    image = noise(3, 16, 16)
    with pytest.raises(UserError, match=message):
        Lut.fit(**{"source": image, "target": image} | arguments)


@pytest.mark.parametrize(
    ("values", "domain", "message"),
    [
        (torch.zeros(2, 2, 3, 3), (0, 1), "must be"),
        (torch.full((2, 2, 2, 3), torch.nan), (0, 1), "NaN"),
        (torch.zeros(2, 2, 2, 3), (1, 0), "must be above its start"),
        (torch.zeros(2, 2, 2, 3), (-3e38, 3e38), "must be above its start"),
        (torch.zeros(2, 2, 2, 3), (0, 1e-46), "must be above its start"),
        (torch.full((2, 2, 2, 3), 1e300, dtype=torch.float64), (0, 1), "must be finite"),
    ],
)
def test_invalid_luts_are_refused(values, domain, message):
    with pytest.raises(UserError, match=message):
        Lut(values, tuple((float(end),) * 3 for end in domain))


@pytest.mark.parametrize("domain", [((0, 0), (1, 1)), ((0, 0, 0), (1, 1)), ((0, 0, 0),), (0.0, 1.0), ("abc", "def")])
def test_domain_other_than_two_colours_is_refused(domain):
    with pytest.raises(UserError, match="must be two colours of three numbers"):
        Lut(torch.zeros(2, 2, 2, 3), domain)


@pytest.mark.parametrize("smoothness", [0.0, -1.0, float("nan"), float("inf")])
def test_smoothness_that_is_not_positive_and_finite_is_refused(smoothness):
    image = noise(3, 16, 16)
    with pytest.raises(UserError, match="above 0, and finite"):
        Lut.fit(image, image, size=3, smoothness=smoothness)


def test_application_does_not_depend_on_the_default_dtype():
    image, lut = noise(1, 3, 16, 16), Lut.identity(3)
    torch.set_default_dtype(torch.float64)
    try:
        output = lut.apply(image)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(output, image)
