"""Models with pretrained backbones and photographs."""

from time import process_time

import pytest
import torch
from tiny_models import write_model_of

from vitsplice import load_backbone, load_model, splice
from vitsplice.images import example, read, resize_to

pytestmark = pytest.mark.weights

BACKBONE = "dinov2-vits14-offline"
OVERRIDES = ("match.further_backbones=[]", "precision=float32")

MOST_PASSES = 8
"""Maximum CPU time of a transfer at 256 x 256 px, as a multiple of that of one pass of the backbone over 16 x 16
patches. On a machine with two cores, 3.2 to 4.1 were measured."""


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BACKBONE)


def untrained_model(folder, backbone, grid):
    """Write a model of the generator splicenet-residual at its default size, with the weights that it has before
    training; load and return it."""
    overrides = (f"match.grid={grid}", *OVERRIDES)
    write_model_of(folder, "splicenet-residual", backbone, "instant", overrides)
    return load_model(folder, device="cpu")


def test_before_training_the_output_is_that_of_instant_with_one_backbone(tmp_path, backbone):
    model = untrained_model(tmp_path, backbone, 8)
    structure, appearance = (resize_to(read(path).pixels, 96) for path in example())
    instant = splice(
        structure, appearance, "instant", device="cpu", overrides=["metrics=none", "match.grid=8", *OVERRIDES]
    )
    assert torch.equal(model(structure, appearance)[0], instant.pixels)


def test_a_transfer_takes_the_time_of_a_few_passes_of_the_backbone(tmp_path, backbone):
    model = untrained_model(tmp_path, backbone, 16)
    structure, appearance = (resize_to(read(path).pixels, 256) for path in example())
    prepared = model.prepare(appearance)
    image, requests = torch.rand(1, 3, *2 * [16 * backbone.info.stride]), [backbone.info.structure]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one_pass = min(cpu_seconds(lambda: backbone(image, requests)) for _ in range(2))
        transfer = cpu_seconds(lambda: model(structure, prepared))
    finally:
        torch.set_num_threads(before)
    assert transfer < MOST_PASSES * one_pass


def cpu_seconds(function):
    """Measure the CPU seconds of a call."""
    started = process_time()
    function()
    return process_time() - started
