import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.images import RunImages
from vitsplice.engine.start import prepare, view_vectors
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors
from vitsplice.presets.settings import settings_for

VECTORS = MatchVectors(noise(1, 4, 6, 8), noise(1, 4, 5, 7, seed=1))
SIZE = (60, 80)


@pytest.mark.parametrize("name", ["structure", "start", "appearance"])
@pytest.mark.parametrize("flip", [False, True])
def test_vectors_of_the_entire_view_are_those_of_the_image(name, flip):
    maps = VECTORS.appearance if name == "appearance" else VECTORS.structure
    features = view_vectors(VECTORS, name, View(0, 0, *SIZE, flip=flip), SIZE)
    assert features.grid == maps.shape[-2:]
    torch.testing.assert_close(features.maps, maps.flip(-1) if flip else maps)


def test_vectors_of_an_aligned_crop_are_those_of_its_patches():
    features = view_vectors(VECTORS, "structure", View(20, 40, 30, 40), SIZE)
    torch.testing.assert_close(features.maps, VECTORS.structure[..., 2:5, 4:8])


def test_vectors_of_a_small_view_are_one():
    assert view_vectors(VECTORS, "structure", View(7, 7, 2, 2), SIZE).grid == (1, 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_vectors_follow_an_appearance_image_that_is_mirrored(vit, mirrored):
    structure = torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    appearance = structure.flip(-1) if mirrored else structure
    config = settings_for("tiny", backbone="tiny-vit", overrides=["start=match", "match.grid=6"])
    images = RunImages({"structure": structure, "appearance": appearance})
    started = prepare(config, images, vit, guided=True)
    assert torch.equal(started.images.pixels["appearance"], structure)
    ours, theirs = (features.patches[0] for features in started.vectors.features())
    own = (ours * theirs).sum(-1)
    assert (own >= (ours @ theirs.T).max(1).values - 0.1).float().mean() > 0.8


def test_images_are_matched_only_where_something_needs_it(vit, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("matched")

    monkeypatch.setattr("vitsplice.engine.start.correspond", fail)
    images = RunImages({"structure": noise(1, 3, 32, 32), "appearance": noise(1, 3, 32, 32, seed=1)})
    started = prepare(settings_for("tiny", backbone="tiny-vit"), images, vit, guided=False)
    assert started.vectors is None
    assert started.images.pixels["start"] is images.pixels["structure"]
