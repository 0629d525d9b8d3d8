from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.config import MatchConfig
from vitsplice.engine.conditions import (
    condition_channels,
    crop_condition,
    described_image,
    in_batches,
    pair_condition,
)
from vitsplice.engine.images import RunImages
from vitsplice.engine.start import prepare
from vitsplice.engine.views import View, entire
from vitsplice.presets.settings import settings_for

NAMES = ("cls", "appearance", "start", "warped")
STRUCTURE, APPEARANCE = noise(1, 3, 48, 64), noise(1, 3, 56, 40, seed=1)


def condition(backbone, names=NAMES, grid=6):
    structure, appearance = (
        described_image(image, backbone, names, grid, appearance=image is APPEARANCE)
        for image in (STRUCTURE, APPEARANCE)
    )
    return pair_condition(names, structure, appearance, backbone.info, MatchConfig(grid=grid))


def test_conditions_have_the_stated_channels(backbone):
    values = condition(backbone).values
    assert tuple(values) == NAMES
    assert {name: value.shape[1] for name, value in values.items()} == condition_channels(NAMES, backbone)
    assert values["start"].shape == values["appearance"].shape == STRUCTURE.shape
    assert values["cls"].norm() == pytest.approx(1)


def test_channels_are_counted_if_the_minimum_size_is_no_valid_size(vit, monkeypatch):
    expected = condition_channels(NAMES, vit)
    monkeypatch.setattr(vit, "info", replace(vit.info, min_size=20))  # sizes must be multiples of 8
    assert condition_channels(NAMES, vit) == expected


def test_start_is_that_of_a_run_that_matches_by_one_backbone(vit):
    config = settings_for("instant", overrides=["match.further_backbones=[]", "match.grid=6"])
    of_run = prepare(config, RunImages({"structure": STRUCTURE, "appearance": APPEARANCE}), {"vit": vit}, guided=False)
    assert torch.equal(condition(vit).values["start"], of_run.images.pixels["start"])


def test_generator_without_spatial_conditions_needs_no_correspondence(vit):
    assert condition(vit, ("cls",)).match is None
    assert described_image(STRUCTURE, vit, ("cls",), 6, appearance=False).description is None


def test_crop_of_the_entire_image_keeps_the_start_and_global_conditions(vit):
    values = condition(vit).values
    cropped = crop_condition(values, entire(STRUCTURE), STRUCTURE.shape[-2:])
    assert torch.equal(cropped["start"], values["start"])
    assert torch.equal(cropped["cls"], values["cls"])


def test_crops_of_one_size_have_conditions_of_one_shape(vit):
    views = [View(0, 0, 24, 24), View(10, 30, 24, 24, flip=True)]
    values = condition(vit, ("cls", "start", "warped")).values
    crops = [crop_condition(values, view, STRUCTURE.shape[-2:]) for view in views]
    assert all(crops[0][name].shape == crops[1][name].shape for name in values)
    assert torch.equal(crops[1]["start"], values["start"][..., 10:34, 30:54].flip(-1))


def test_images_of_one_size_share_a_call_of_the_generator():
    calls = []

    def generate(structure, condition):
        calls.append(tuple(structure.shape))
        return structure + condition["cls"].mean(1)[:, None, None, None]

    images = [torch.zeros(1, 3, size, 8) for size in (8, 6, 8)]
    inputs = [(image, {"cls": torch.full((1, 4), float(number))}) for number, image in enumerate(images)]
    outputs = in_batches(generate, inputs)
    assert calls == [(2, 3, 8, 8), (1, 3, 6, 8)]
    assert [tuple(output.shape) for output in outputs] == [tuple(image.shape) for image in images]
    assert [float(output.mean()) for output in outputs] == [0, 1, 2]
