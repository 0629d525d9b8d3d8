import numpy as np
import pytest
import torch
from clips import panned
from tiny_models import write_tiny_model

from vitsplice import splice
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.images import encode_png
from vitsplice.presets.settings import settings_for
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import as_pixels, as_tensor
from vitsplice.video.transfer import load_transfer

GUIDED = (
    "match.grid=6",
    "metrics=none",
    "steps=1",
    "generator={name: pixels}",
    "terms={texture: {loss: texture, weight: 1, options: {depths: [0.5], guide: 1.5, uniform: 0.3}}}",
)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_output_of_a_frame_equals_that_of_splice_if_a_loss_term_but_not_the_model_needs_the_match(tmp_path, mirrored):
    write_tiny_model(tmp_path / "model", generator="splicenet", options={"width": 0.05})
    frame = as_tensor(panned(1)[0]).contiguous()  # as in `splice`: the memory layout changes the rounding
    appearance = frame.flip(-1) if mirrored else as_tensor(panned(1, seed=5)[0])
    (tmp_path / "appearance.png").write_bytes(encode_png(appearance))
    settings = settings_for(tmp_path / "model", overrides=GUIDED)
    transfer = load_transfer(Appearances.read(tmp_path / "appearance.png"), settings, BackboneLoader())
    match = transfer.match(frame)
    start = transfer.start(frame, match)
    assert match.others[0].mirrored is mirrored
    assert torch.equal(transfer.start(frame, None), start)
    output = as_pixels(transfer.optimised(frame, match, start))
    expected = splice(frame, tmp_path / "appearance.png", tmp_path / "model", overrides=GUIDED)
    assert np.array_equal(output, np.array(expected.image))


def test_a_frame_is_not_matched_if_neither_the_model_nor_a_loss_term_needs_the_match(tmp_path):
    write_tiny_model(tmp_path / "model", generator="splicenet", options={"width": 0.05})
    frame = as_tensor(panned(1)[0])
    (tmp_path / "appearance.png").write_bytes(encode_png(frame))
    settings = settings_for(tmp_path / "model", overrides=["metrics=none"])
    transfer = load_transfer(Appearances.read(tmp_path / "appearance.png"), settings, BackboneLoader())
    assert transfer.match(frame) is None
