"""Models with pretrained backbones and photographs."""

from time import process_time

import pytest
import torch
from tiny_models import write_model_of

from vitsplice import load_backbone, load_model, splice
from vitsplice.images import example, read

pytestmark = pytest.mark.weights

BACKBONE = "dinov2-vits14-offline"
OVERRIDES = ("match.grid=32", "precision=float32")

MAX_SECONDS = 1.8
"""CPU seconds of one thread for an image of 512 px: on 2 cores that is less than a second."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The full generator splicenet-residual before training."""
    folder = tmp_path_factory.mktemp("model")
    write_model_of(folder, "splicenet-residual", load_backbone(BACKBONE), "instant", OVERRIDES)
    return load_model(folder, device="cpu")


def test_before_training_the_output_is_that_of_instant(model):
    structure, appearance = example()
    instant = splice(structure, appearance, "instant", device="cpu", overrides=["metrics=none", *OVERRIDES])
    assert torch.equal(model(structure, appearance)[0], instant.pixels)


@pytest.mark.alone
def test_an_image_of_512_pixels_takes_less_than_a_second_of_two_cores(model):
    structure, appearance = map(read, example())
    prepared = model.prepare(appearance)
    before, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(3):
            started = process_time()
            model(structure, prepared)
            seconds.append(process_time() - started)
    finally:
        torch.set_num_threads(before)
    assert structure.pixels.shape[-2:] == (512, 512)
    assert min(seconds) < MAX_SECONDS
