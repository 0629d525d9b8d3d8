"""Digests of what the output of a run depends on, and checkpoints of another run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from vitsplice_tiny import tiny_vit

from vitsplice.contracts import FeatureRequest
from vitsplice.engine import backbones
from vitsplice.errors import CheckpointRejected
from vitsplice.presets.settings import settings_for
from vitsplice.runs.checkpoints import digests, features_sha256
from vitsplice.runs.recorder import Recording


@pytest.mark.slow
def test_run_is_not_resumed_with_the_same_weights_but_another_default_facet(png, tmp_path, monkeypatch):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    settings = settings_for("tiny", backbone="tiny-vit", overrides=["previews=0"])
    with Recording.begin(images, settings, tmp_path) as recording:
        next(recording.steps(note=str))  # str: messages are ignored
        recording.write_checkpoint(note=str)
    Recording.resume(tmp_path).close()
    other = tiny_vit(structure=FeatureRequest("query"))
    assert other.info.sha256 == recording.run.backbones["main"].info.sha256
    monkeypatch.setattr(backbones, "load_configured", lambda config, known: (other, None))
    with pytest.raises(CheckpointRejected, match=r"belongs to another run, which differs in: features$"):
        Recording.resume(tmp_path)


def test_weights_and_features_of_every_backbone_have_digests(vit, cnn):
    inputs = {"images": {}, "masks": {}, "weights": (1.0,), "regions": []}
    run = SimpleNamespace(**inputs, settings=settings_for("tiny"), backbones={"vit": vit, "cnn": cnn})
    # "weights" and "features" are those of the first backbone; the weight of a single appearance image has no entry
    assert {*digests(run)} == {"settings", "weights", "features", "weights of cnn", "features of cnn"}


def test_digest_of_features_depends_on_what_changes_them(vit, cnn):
    info = vit.info
    changes = {
        "structure": FeatureRequest("query"),
        "appearance": FeatureRequest("cls", -2),
        "cls_normalised": False,
        "mean": (0.1, 0.2, 0.3),
        "stride": 4,
    }
    changed = [replace(info, **{name: value}) for name, value in changes.items()]
    assert len({features_sha256(each) for each in (info, cnn.info, *changed)}) == len(changes) + 2
    assert features_sha256(replace(info, licence="MIT", source="a mirror")) == features_sha256(info)
