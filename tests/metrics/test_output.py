import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.metrics import output as module
from vitsplice.metrics.output import METRICS, gradient_ssim_distance, metrics, patch_distance, with_scale


def photograph(seed, side=96):
    return torch.nn.functional.interpolate(noise(1, 3, 12, 12, seed=seed), size=(side, side), mode="bicubic").clamp(
        0, 1
    )


def by_name(structure, appearance, output, cnn):
    return {figure.name: figure.value for figure in metrics(structure, appearance, output, cnn)}


def test_the_image_itself_is_nothing_away(cnn):
    structure, appearance = photograph(1), photograph(2)
    kept, taken = (by_name(structure, appearance, output, cnn) for output in (structure, appearance))
    assert tuple(kept) == METRICS
    for name in METRICS[:2]:
        assert kept[name] == pytest.approx(0, abs=1e-5)
        assert taken[name] > 1e-4
    for name in METRICS[2:]:
        assert taken[name] == pytest.approx(0, abs=1e-5)
        assert kept[name] > 1e-3


def test_a_scale_that_cannot_be_measured_costs_nothing_else(monkeypatch):
    structure, appearance, output = photograph(1), photograph(2), photograph(3)
    measured = metrics(structure, appearance, output, None)

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(module, "value_of", fails)
    beside = with_scale(measured, structure, appearance, output, None)
    assert [one.value for one in beside] == [one.value for one in measured]
    assert {one.start for one in beside} | {one.unchanged for one in beside} == {None}


def test_without_a_cnn_the_others_are_still_told():
    assert tuple(by_name(photograph(1), photograph(2), photograph(1), None)) == (METRICS[0], METRICS[2])


def test_structure_is_blind_to_colour_and_appearance_to_place():
    image = photograph(3)
    assert gradient_ssim_distance((image + 0.05).clamp(0, 1), image) < 0.2 * gradient_ssim_distance(
        photograph(4), image
    )
    assert patch_distance(image.flip(-1).flip(-2), image) < 0.3 * patch_distance(photograph(4), image)


def test_more_noise_is_farther():
    image, speckle = photograph(5), noise(1, 3, 96, 96) - 0.5
    found = [gradient_ssim_distance((image + amount * speckle).clamp(0, 1), image) for amount in (0, 0.1, 0.4)]
    assert found == sorted(found)
    assert found[2] > found[1] > found[0]


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_image_has_the_structure_of_itself(level):
    flat = torch.full((1, 3, 64, 64), level)
    assert gradient_ssim_distance(flat, flat) == 0


OUT_OF_MEMORY = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "out of memory (MemoryError)"),
        (OUT_OF_MEMORY, "out of memory (can't allocate memory: you tried to allocate 9 bytes)"),
        (UserError("not\nthis"), "not this"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_figure_that_fails_costs_its_own_value_alone(cnn, monkeypatch, error, why):
    def fail(*_):
        raise error

    images = [photograph(seed) for seed in (1, 2, 3)]
    whole = metrics(*images, cnn)
    monkeypatch.setattr(module, "patch_distance", fail)
    found = metrics(*images, cnn)
    assert [figure.name for figure in found] == list(METRICS)
    assert [figure for figure in found if figure.value is not None] == [f for f in whole if f.name != "lab-patches"]
    [failed] = [figure for figure in found if figure.value is None]
    assert (failed.name, failed.against, failed.why) == ("lab-patches", "appearance", why)


def test_a_figure_that_is_not_a_number_has_no_value(monkeypatch):
    monkeypatch.setattr(module, "patch_distance", lambda *_: float("nan"))
    found = {figure.name: figure for figure in metrics(*[photograph(seed) for seed in (1, 2, 3)], None)}
    assert (found["lab-patches"].value, found["lab-patches"].why) == (None, "it is nan")


def test_a_long_image_is_measured_at_a_bounded_size(cnn, monkeypatch):
    seen = []
    to_lab = module.to_lab
    monkeypatch.setattr(module, "to_lab", lambda image: seen.append(tuple(image.shape[-2:])) or to_lab(image))
    images = [noise(1, 3, 32, 1024, seed=seed) for seed in (1, 2, 3)]
    for network in (cnn, None):
        assert all(figure.value is not None for figure in metrics(*images, network))
    assert max(max(size) for size in seen) <= module.LONGEST
