"""A small `splicenet` learns two pairs of photographs."""

from statistics import fmean

import pytest

from vitsplice.datasets import Pair
from vitsplice.images import example
from vitsplice.presets.settings import settings_for
from vitsplice.training.loop import Training
from vitsplice.training.parts import TrainingParts
from vitsplice.training.prepare import prepared_data
from vitsplice.training.processes import Processes

SMALL = (
    "generator.options.width=0.2",
    "training.side=64",
    "resize.size=56",
    "views={structure: {crop: [0.95, 0.95], flip: 0}, appearance: {crop: [0.95, 0.95], flip: 0}}",
    "views.structure.jitter.probability=0",
    "views.structure.blur.probability=0",
    "optimiser.lr=0.01",
    "match.grid=8",
    "training.batch=2",
    "terms.identity.every=1",
)


@pytest.mark.weights
def test_small_splicenet_loses_a_third_of_its_loss_on_two_pairs(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    pairs = [Pair(f"{a.stem}-{b.stem}", a, b) for a, b in (example(), example()[::-1])]
    parts = TrainingParts.build(settings_for("splicenet", steps=4, device="cpu", overrides=SMALL))
    data = prepared_data(parts.recipe, pairs, tmp_path)
    totals = [step.total for step in Training(parts, data, Processes("cpu")).steps()]
    assert fmean(totals[-3:]) < 2 / 3 * totals[0]
