import json
from functools import partial

import pytest
import torch

import vitsplice
from tests.conftest import STAGED_PYRAMID, TINY_SECOND, noise, smooth_pair
from vitsplice.contracts import Case, MetricContext
from vitsplice.engine.memory import Estimate, saved_for_backward
from vitsplice.errors import CheckpointRejected, ConfigError, UserError
from vitsplice.images import encode_png
from vitsplice.metrics.independent import lab_patches
from vitsplice.presets.changes import Changes
from vitsplice.presets.settings import settings_for
from vitsplice.runs.inputs import as_arguments, described, is_input_name, named_inputs
from vitsplice.runs.recorder import Recording
from vitsplice.runs.repeat import command_line, python_code
from vitsplice.runs.run import Run

STRUCTURE, FIRST = smooth_pair()
SECOND = torch.nn.functional.interpolate(noise(1, 3, 6, 5, seed=8), size=(48, 40), mode="bilinear")
MATCHED = {"backbone": "tiny-vit", "steps": 0, "overrides": ["start=match", "match.grid=8", "size=null"]}
QUICK = {
    "backbone": "tiny-vit",
    "steps": 2,
    "overrides": ["metrics=none", "match.grid=8", *TINY_SECOND, "stages=[{side: 40}, {side: 48, tile: 64}]"],
}


def match(appearance):
    """Run without steps: the output is the warm start."""
    return vitsplice.splice(STRUCTURE, appearance, "tiny", **MATCHED)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"steps": 2}, MATCHED])
def test_a_list_of_one_image_gives_the_same_output_as_the_image_itself(settings):
    plain, listed = (vitsplice.splice(STRUCTURE, a, "tiny", **settings) for a in (FIRST, [FIRST]))
    assert torch.equal(plain.pixels, listed.pixels)
    assert plain.provenance is listed.provenance is None
    assert plain.record.keys() == listed.record.keys()


@pytest.mark.slow
def test_an_image_given_twice_has_the_effect_of_one():
    plain, twice = match(FIRST), match([FIRST, FIRST])
    torch.testing.assert_close(twice.pixels, plain.pixels, atol=2e-3, rtol=0)


@pytest.mark.slow
def test_first_losses_of_an_image_given_twice_are_about_those_of_one():
    """The terms sample few positions, so the losses are only about equal; with `SECOND`, they differ by up to 40 %."""
    image, settings = 1 - FIRST, QUICK | {"steps": 1, "overrides": [*QUICK["overrides"], "stages=[{side: 40}]"]}
    plain, twice = (vitsplice.splice(STRUCTURE, a, "quick", **settings) for a in (image, [image, image]))
    for name, value in plain.losses[0].losses.items():
        assert twice.losses[0].losses[name] == pytest.approx(value, rel=0.15, abs=2e-3), name


@pytest.mark.slow
def test_order_of_the_images_does_not_matter_to_the_start():
    outputs = [match(images).pixels for images in ([FIRST, SECOND], [SECOND, FIRST])]
    torch.testing.assert_close(*outputs, atol=2e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["quick", "tiny"])
def test_presets_run_with_images_of_different_shapes(preset):
    settings = QUICK if preset == "quick" else {"steps": 2}
    masks = [None, torch.ones(1, 48, 40)]
    result = vitsplice.splice(
        STRUCTURE, [FIRST, SECOND], preset, appearance_weights=[0.7, 0.3], appearance_mask=masks, **settings
    )
    assert result.finished
    assert result.record["appearance_weights"] == {"appearance": 0.7, "appearance_2": 0.3}
    assert list(result.inputs) == ["structure", "appearance", "appearance_2", "appearance_2_mask"]
    assert (result.provenance is not None) == (preset == "quick")


@pytest.mark.slow
def test_global_target_is_that_of_the_image_with_nearly_all_the_weight():
    terms = ["terms={appearance: {loss: appearance, weight: 1, view: entire}}"]
    unequal, equal = (
        vitsplice.splice(STRUCTURE, [FIRST, 1 - FIRST], "tiny", steps=1, appearance_weights=weights, overrides=terms)
        for weights in ([1e6, 1e-6], [1, 1])
    )
    alone = vitsplice.splice(STRUCTURE, FIRST, "tiny", steps=1, overrides=terms)
    assert unequal.losses[0].total == pytest.approx(alone.losses[0].total, rel=1e-4)
    assert equal.losses[0].total != pytest.approx(alone.losses[0].total, rel=1e-3)


def test_provenance_map_and_report_show_the_appearance_image_of_each_match(tmp_path):
    result = match([FIRST, STRUCTURE])
    assert result.provenance.shape[0] == 2
    torch.testing.assert_close(result.provenance.sum(0), torch.ones(result.provenance.shape[1:]))
    assert result.record["appearance_shares"]["appearance_2"] > 0.5  # it is the structure image itself
    folder = result.save(tmp_path / "out")
    assert (folder / "provenance.png").is_file()
    assert "blue: appearance image 2" in vitsplice.runs.report.report(result)


@pytest.mark.usefixtures("small_metrics")
@pytest.mark.slow
@pytest.mark.parametrize(("weights", "share"), [(None, 0.5), ([3, 1], 0.75)])
def test_metrics_are_means_over_the_images_by_weight(monkeypatch, weights, share):
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("gradient-ssim", "lab-patches"))  # without a network
    settings = MATCHED | {"overrides": [*MATCHED["overrides"], "metrics=all"]}
    result = vitsplice.splice(STRUCTURE, [FIRST, SECOND], "tiny", appearance_weights=weights, **settings)
    values = {metric.name: metric.value for metric in result.metrics}
    assert set(values) == {"gradient-ssim", "lab-patches"}
    metric = lab_patches(MetricContext(None, "x"))
    first, second = (metric.value(Case("c", STRUCTURE, image, result.pixels[None])) for image in (FIRST, SECOND))
    assert values["lab-patches"] == pytest.approx(share * first + (1 - share) * second, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"appearance": []}, "at least one"),
        ({"appearance_weights": [1, 0]}, r"from 1e-06 to 1e\+06, not 1, 0"),
        ({"appearance_weights": [1, float("nan")]}, "from 1e-06"),
        ({"appearance_weights": [1e39, 1]}, "from 1e-06"),
        ({"appearance_weights": 0.5}, "as many weights; there are 1: 0.5"),
        ({"appearance_weights": [1]}, "as many weights"),
        ({"appearance_weights": [1, "2"]}, "must be numbers, not a str"),
        ({"appearance_mask": [None] * 3}, "3 appearance masks"),
        ({"appearance_mask": [None, torch.ones(1, 40, 48)]}, "appearance 2 mask tensor is 48x40"),
    ],
)
def test_invalid_arguments_are_named(arguments, message):
    arguments = {"appearance": [FIRST, SECOND]} | arguments
    with pytest.raises(UserError, match=message):
        vitsplice.splice(STRUCTURE, preset="tiny", **arguments)


def test_names_of_images_are_converted_back_to_the_arguments():
    named = named_inputs("s", ["a", "b"], None, [None, "m"])
    assert named == {"structure": "s", "appearance": "a", "appearance_2": "b", "appearance_2_mask": "m"}
    assert as_arguments(named) == {"structure": "s", "appearance": ["a", "b"], "appearance_mask": [None, "m"]}
    assert all(map(is_input_name, named))
    assert not any(map(is_input_name, ("appearance_1", "appearance_02", "structure_2", "other")))
    assert [described(name) for name in named][2:] == ["appearance image 2", "appearance mask 2"]


def test_command_and_code_repeat_a_run_of_several_images():
    images = {"structure": "s.png", "appearance": "a.png", "appearance_2": "b.png", "appearance_2_mask": "m.png"}
    plain = command_line(images, Changes("instant"))
    assert plain == "vitsplice run s.png a.png b.png --preset instant --appearance-mask - --appearance-mask m.png " + (
        "-o vitsplice-out"
    )
    assert "--appearance a.png:0.7 --appearance b.png:0.3" in command_line(images, Changes("instant"), "o", [0.7, 0.3])
    code = python_code(images, Changes("instant"), weights=[0.7, 0.3])
    assert "['a.png', 'b.png']" in code
    assert "appearance_weights=[0.7, 0.3]" in code


@pytest.fixture
def files(tmp_path):
    paths = {}
    for name, pixels in {"structure": STRUCTURE, "appearance": FIRST, "appearance_2": SECOND}.items():
        paths[name] = tmp_path / f"{name}.png"
        paths[name].write_bytes(encode_png(pixels[0]))
    return paths


def take_steps(recording, until=None):
    """Take all steps, or the first ``until``; save the run and return the bytes of its output image."""
    with recording:
        for step in recording.steps(lambda note: None):
            if step.index + 1 == until:
                break
        recording.finish(lambda note: None)
    return (recording.folder.path / "output.png").read_bytes()


@pytest.mark.slow
def test_a_stopped_run_of_several_images_resumes_to_the_same_bytes(files, tmp_path):
    settings = settings_for("tiny", overrides=["steps=4", *STAGED_PYRAMID])
    weights = [0.7, 0.3]
    whole = take_steps(Recording.begin(files, settings, tmp_path / "whole", weights=weights))
    take_steps(Recording.begin(files, settings, tmp_path / "parts", weights=weights), until=2)
    assert take_steps(Recording.resume(tmp_path / "parts")) == whole
    assert take_steps(Recording.begin(files, settings, tmp_path / "equal-weights")) != whole


@pytest.mark.slow
def test_resume_with_other_weights_or_another_second_image_is_refused(files, tmp_path):
    settings = settings_for("tiny", overrides=["steps=2", *STAGED_PYRAMID])
    take_steps(Recording.begin(files, settings, tmp_path / "out", weights=[0.7, 0.3]), until=1)
    begun = tmp_path / "out" / "checkpoint" / "begun.json"
    inputs = json.loads(begun.read_text())
    begun.write_text(json.dumps(inputs | {"weights": [0.5, 0.5]}))
    with pytest.raises(CheckpointRejected, match="weights of the images"):
        Recording.resume(tmp_path / "out")
    begun.write_text(json.dumps(inputs))
    files["appearance_2"].write_bytes(encode_png(1 - SECOND[0]))
    with pytest.raises(CheckpointRejected, match="appearance image 2"):
        Recording.resume(tmp_path / "out")


def test_a_trained_model_refuses_several_images(vit):
    from vitsplice.engine.images import RunImages
    from vitsplice.engine.stack import AppearanceImage, stack
    from vitsplice.engine.start import prepare

    stacked = stack([AppearanceImage(FIRST), AppearanceImage(FIRST)])
    images = RunImages({"structure": STRUCTURE, "appearance": stacked.pixels}, {}, stacked.images)
    with pytest.raises(ConfigError, match="one appearance image, not 2"):
        prepare(settings_for("tiny"), images, {"main": vit}, guided=False, model=object())


def _identity_loss(optimisation):
    return optimisation._losses(0, optimisation.problem.terms)["identity"]


@pytest.mark.slow
def test_memory_that_the_term_identity_needs_for_each_image_is_estimated():
    settings = settings_for("tiny", backbone="tiny-vit", overrides=["terms={identity: {loss: identity, weight: 1}}"])
    for images in ([FIRST], [FIRST] * 8):
        run = Run(STRUCTURE, images, settings)
        needed = saved_for_backward(partial(_identity_loss, run._optimisation._current))
        sizes = [tuple(run.images[name].pixels.shape[-2:]) for name in ("structure", "appearance")]
        assert Estimate(run._components).required_bytes(*sizes, len(images)) > needed
