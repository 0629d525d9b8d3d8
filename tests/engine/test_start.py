import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.images import RunImages
from vitsplice.engine.start import match_images, prepare, view_vectors
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors, correspond, describe_image, match_descriptions
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


def test_vectors_of_a_small_view_are_those_of_one_patch():
    assert view_vectors(VECTORS, "structure", View(7, 7, 2, 2), SIZE).grid == (1, 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_vectors_follow_an_appearance_image_that_is_mirrored(vit, mirrored):
    structure = torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    appearance = structure.flip(-1) if mirrored else structure
    config = settings_for("tiny", backbone="tiny-vit", overrides=["start=match", "match.grid=6"])
    images = RunImages({"structure": structure, "appearance": appearance})
    started = prepare(config, images, {"main": vit}, guided=True)
    assert torch.equal(started.images.pixels["appearance"], structure)
    ours, theirs = (features.patches[0] for features in started.vectors.features())
    at_same_location = (ours * theirs).sum(-1)
    assert (at_same_location >= (ours @ theirs.T).max(1).values - 0.1).float().mean() > 0.8


def test_images_are_not_matched_if_neither_the_start_nor_a_term_needs_it(vit, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("matched")

    monkeypatch.setattr("vitsplice.engine.start.match_images", fail)
    images = RunImages({"structure": noise(1, 3, 32, 32), "appearance": noise(1, 3, 32, 32, seed=1)})
    started = prepare(settings_for("tiny", backbone="tiny-vit"), images, {"main": vit}, guided=False)
    assert started.vectors is None
    assert started.images.pixels["start"] is images.pixels["structure"]


@pytest.mark.slow
def test_images_are_matched_by_the_further_backbones_of_the_settings(vit, cnn):
    structure, appearance = noise(1, 3, 48, 48), noise(1, 3, 48, 48, seed=1)
    images, backbones = RunImages({"structure": structure, "appearance": appearance}), {"vit": vit, "cnn": cnn}
    alone, joined = (
        match_images(images, backbones, settings_for("instant", overrides=["match.grid=6", *overrides]))
        for overrides in (["match.further_backbones=[]"], [])
    )
    descriptions = [
        describe_image(image, vit, 6, mirror=mirror, further_backbones=[cnn])
        for image, mirror in ((structure, False), (appearance, True))
    ]
    assert torch.equal(joined.weights, match_descriptions(*descriptions).weights)
    assert not torch.allclose(joined.similarity, alone.similarity, atol=0.01)


class Negative:
    """A model whose output is the negative of the structure image, with or without a correspondence."""

    def __init__(self, vit=None):
        self.vit = vit

    def start(self, structure, appearance, match, mask):
        settings = {"grid": match.grid, "mask": mask, **match.arguments}
        return 1 - structure, self.vit and correspond(structure, appearance, self.vit, **settings)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0, 2.0])
def test_a_run_starts_from_the_output_of_a_model_weakened_by_an_appearance_strength_below_1(vit, strength):
    config = settings_for("tiny", backbone="tiny-vit", appearance_strength=strength)
    config = config.model_copy(update={"start": "model"})
    images = RunImages({"structure": noise(1, 3, 32, 32), "appearance": noise(1, 3, 32, 32, seed=1)})
    start = prepare(config, images, {"main": vit}, guided=False, model=Negative()).images.pixels["start"]
    structure = images.pixels["structure"]
    torch.testing.assert_close(start, torch.lerp(structure, 1 - structure, min(1.0, strength)))


@pytest.mark.parametrize("matches", [False, True])
def test_guided_terms_use_the_correspondence_of_the_model_or_one_of_their_own(vit, matches, monkeypatch):
    structure = torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    config = settings_for("tiny", backbone="tiny-vit", overrides=["match.grid=6"])
    images = RunImages({"structure": structure, "appearance": structure.flip(-1)})
    calls = []
    monkeypatch.setattr("vitsplice.engine.start.match_images", lambda *a: calls.append(1) or match_images(*a))
    model = Negative(vit if matches else None)
    config = config.model_copy(update={"start": "model"})
    started = prepare(config, images, {"main": vit}, guided=True, model=model)
    assert len(calls) == (not matches)
    assert torch.equal(started.images.pixels["appearance"], structure)  # mirrored, as it is matched
    assert torch.equal(started.images.pixels["start"], 1 - structure)
    assert started.vectors is not None
