import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
import vitsplice_tiny
from PIL import Image

import vitsplice
from tests.conftest import TINY_SECOND, smooth_pair
from vitsplice.config import BackboneConfig
from vitsplice.engine import backbones
from vitsplice.engine.backbones import BackboneCache, backbone_or_default
from vitsplice.errors import ConfigError, OutputExists, UnknownName, UserError, WeightsRejected, WeightsUnavailable
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run

PIXELS = (
    "generator.name=pixels",
    "generator.options={}",
    "terms={structure: {loss: structure, weight: 1}, appearance: {loss: appearance, weight: 1}}",
)
"""Overrides of the preset tiny: optimise the pixels themselves by two terms."""


def splice(pair, **settings):
    return vitsplice.splice(*pair, "tiny", **settings)


@pytest.mark.slow
def test_a_result_has_image_losses_and_settings(pair):
    result = splice(pair)
    assert result.finished
    assert result.pixels.shape == (3, 32, 38)
    assert result.image.size == (38, 32)
    assert [step.index for step in result.losses] == [0, 1, 2, 3, 4]
    assert result.settings.backbone.name == "tiny-vit"
    assert result.record["substitutions"][0]["requested"] == "tiny-gone"
    assert result._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_paths_pil_images_arrays_and_tensors_give_identical_pixels(png):
    images = [Image.open(path) for path in png]
    arrays = [np.asarray(image) for image in images]
    tensors = [torch.from_numpy(a.copy()).permute(2, 0, 1) / 255 for a in arrays]
    pairs = (png, [str(p) for p in png], images, arrays, tensors)
    results = [splice(pair, steps=1, overrides=PIXELS).pixels for pair in pairs]
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.slow
def test_on_step_is_called_for_each_step_and_may_stop_the_run(pair):
    indices = []
    result = splice(pair, on_step=lambda step, run: indices.append(step.index) or step.index < 2)
    assert indices == [0, 1, 2]
    assert not result.finished
    assert result.record["finished"] is False
    assert result.record["steps"] == {"requested": 5, "taken": 3, "resumed_at": 0}


SMALL_UNET = "generator.options.channels=[4, 8]"

SMALL_PRIOR = ("generator.options.channels=[4, 8]", "generator.options.kernels=[5, 3]")

PRESETS = {
    "quick": (*TINY_SECOND, "stages=[{side: 24, share: 0.5}, {side: 32, share: 0.5}]"),
    "paper": (SMALL_UNET, "resize.size=32"),
    "invert-official": (*SMALL_PRIOR, "resize.size=32"),
}
"""Overrides by preset for small networks and images."""


def small(preset):
    """Arguments of a short run with tiny backbones."""
    overrides = ["metrics=none", "match.grid=8", *PRESETS[preset]]
    return {"backbone": "tiny-vit", "steps": 2, "size": 32, "overrides": overrides}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_leaves_the_global_random_state_unchanged_for_other_threads(pair, preset):
    """Another thread draws numbers during the run, and gets those that it would get without the run."""
    drawn, run_ended = [], threading.Event()

    def draw():
        while not run_ended.is_set():
            drawn.append(torch.rand(1))
            time.sleep(0.001)

    with torch.random.fork_rng():
        torch.manual_seed(3)
        thread = threading.Thread(target=draw)
        thread.start()
        try:
            vitsplice.splice(*pair, preset, **small(preset))
        finally:
            run_ended.set()
            thread.join()
        torch.manual_seed(3)
        assert torch.equal(torch.cat(drawn), torch.cat([torch.rand(1) for _ in drawn]))


@pytest.mark.slow
def test_concurrent_runs_give_the_bytes_of_sequential_runs(pair):
    def run(number):
        images = pair[:: -1 if number % 2 else 1]
        preset = list(PRESETS)[number]
        return vitsplice.splice(*images, preset, seed=number, **small(preset)).pixels

    sequential = list(map(run, range(3)))
    with ThreadPoolExecutor(3) as pool:
        concurrent = list(pool.map(run, range(3)))
    assert [number for number in range(3) if not torch.equal(sequential[number], concurrent[number])] == []


@pytest.mark.slow
def test_concurrent_runs_that_share_a_backbone_give_the_bytes_of_sequential_runs(pair):
    cache = BackboneCache()

    def run(number):
        cached = Run(*pair, vitsplice.settings_for("quick", seed=number, **small("quick")), backbones=cache)
        return [step.total for step in cached.steps()], cached.pixels()

    sequential = list(map(run, range(2)))
    with ThreadPoolExecutor(2) as pool:
        concurrent = list(pool.map(run, range(2)))
    assert [losses for losses, _ in concurrent] == [losses for losses, _ in sequential]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(sequential, concurrent, strict=True))


def test_pixels_of_a_run_without_steps_are_a_copy(pair):
    settings = vitsplice.settings_for("tiny", steps=0, overrides=["start=match", "match.grid=8"])
    run = Run(*pair, settings)
    pixels = run.pixels()
    expected = pixels.clone()
    pixels.zero_()
    assert torch.equal(run.pixels(), expected)


@pytest.mark.slow
def test_saved_settings_reproduce_the_output(pair, tmp_path):
    first = splice(pair, seed=5, steps=2, overrides=[SMALL_UNET])
    out = first.save(tmp_path / "out")
    second = vitsplice.splice(*pair, out / "run.yaml")
    assert torch.equal(first.pixels, second.pixels)
    assert second.record["substitutions"] == []
    assert second.save(tmp_path / "again").joinpath("output.png").read_bytes() == (out / "output.png").read_bytes()


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_save_writes_every_artifact_and_overwrites_only_with_force(pair, tmp_path):
    result = splice(pair, overrides=["plots=all"])
    out = result.save(tmp_path / "deep" / "out")
    names = {"output.png", "run.yaml", "run.json", "losses.csv", "losses.png", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    record = json.loads((out / "run.json").read_text())
    assert record["finished"] is True
    assert record["backbones"]["main"]["sha256"]
    assert {len(record["inputs"][role]["sha256"]) for role in ("structure", "appearance")} == {64}
    with pytest.raises(OutputExists, match="already holds a run"):
        result.save(out)
    result.save(out, force=True)


def test_a_requested_backbone_is_never_substituted(pair):
    with pytest.raises(WeightsUnavailable):
        splice(pair, backbone="tiny-gone")
    with pytest.raises(WeightsUnavailable):
        splice(pair, overrides=["backbone.name=tiny-gone"])
    named = splice(pair, backbone="tiny-cnn", steps=1, overrides=[*PIXELS, "resize.size=40"])
    assert named.record["substitutions"] == []


def test_arguments_override_the_preset():
    settings = vitsplice.settings_for("paper", steps=3, size=99, seed=7, device="cpu", precision="bfloat16")
    assert (settings.steps, settings.size, settings.seed) == (3, 99, 7)
    assert (settings.device, settings.precision) == ("cpu", "bfloat16")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"preset": "papper"}, UnknownName, "paper"),
        ({"preset": "nowhere.yaml"}, ConfigError, "nowhere.yaml does not exist"),
        ({"preset": "tiny", "steps": 0}, ConfigError, "steps: 0"),
        ({"preset": "tiny", "device": "abacus"}, UserError, "there is no device 'abacus'"),
        ({"preset": "tiny", "backbone": "tiny-vat"}, UnknownName, "tiny-vit"),
    ],
)
def test_an_invalid_argument_raises(pair, settings, error, message):
    with pytest.raises(error, match=message):
        vitsplice.splice(*pair, **settings)


def test_import_loads_neither_torch_nor_plugins_and_public_names_exist():
    import subprocess
    import sys

    code = "import sys, vitsplice, vitsplice.losses.terms; print({'torch', 'pluggy', 'timm'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
    assert all(getattr(vitsplice, name) for name in vitsplice.__all__)
    assert dir(vitsplice) == sorted(vitsplice.__all__)
    with pytest.raises(AttributeError, match="no attribute 'spliec'"):
        vitsplice.spliec  # noqa: B018


STORED_LOSS, STORED_QUARTERS = 8.75511, [0.49858, 0.49216, 0.49513, 0.49990]
"""Loss of the first step of the preset tiny with a U-Net of default size, and mean of each quarter of the output.

They detect unintended changes. The results of more steps depend strongly on the number of threads and the CPU.
"""


@pytest.mark.slow
def test_one_step_of_the_tiny_preset_gives_the_stored_values(pair):
    result = splice(pair, backbone="tiny-vit", steps=1, device="cpu", overrides=["generator={name: unet}"])
    quarters = torch.nn.functional.adaptive_avg_pool2d(result.pixels.mean(0, keepdim=True), 2).flatten()
    assert result.losses[0].total == pytest.approx(STORED_LOSS, rel=1e-4)
    torch.testing.assert_close(quarters, torch.tensor(STORED_QUARTERS), atol=2e-3, rtol=0)


def test_backbone_or_default_substitutes_only_without_a_name(monkeypatch):
    backbone, substitution = backbone_or_default("tiny-cnn", torch.device("cpu"))
    assert (backbone.info.name, substitution) == ("tiny-cnn", None)
    with pytest.raises(WeightsUnavailable):
        backbone_or_default("tiny-gone", torch.device("cpu"))
    monkeypatch.setattr(vitsplice.settings_for, "__defaults__", ("tiny",))
    backbone, substitution = backbone_or_default(None, torch.device("cpu"))
    assert (backbone.info.name, substitution.requested, substitution.used) == ("tiny-vit", "tiny-gone", "tiny-vit")


@pytest.mark.slow
@pytest.mark.parametrize(("colour", "steps"), [("L", 2), ("RGB", 0)])
def test_an_appearance_mask_file_excludes_the_colours_outside_it(pair, tmp_path, colour, steps):
    appearance = pair[1].clone()
    appearance[..., 24:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    path = tmp_path / "mask.png"
    mask = Image.new(colour, (48, 40))
    mask.paste("white", (0, 0, 24, 40))
    mask.save(path)
    settings = ["backbone.name=tiny-vit", "start=match", "match.balance=1", "match.grid=12", *PIXELS]
    unmasked, masked = (
        vitsplice.splice(pair[0], appearance, preset="tiny", steps=steps, overrides=settings, **masks).pixels
        for masks in ({}, {"appearance_mask": path})
    )
    redness = [float((image[0] - image[1:].mean(0)).mean()) for image in (unmasked, masked)]
    assert redness[0] > redness[1] + 0.005


@pytest.fixture
def loads(monkeypatch):
    """Names of the backbones that are loaded for runs."""
    names, load = [], backbones.load_configured
    monkeypatch.setattr(
        backbones, "load_configured", lambda config, known: names.append(config.name) or load(config, known)
    )
    return names


@pytest.mark.slow
def test_a_loaded_backbone_gives_the_bytes_of_its_name_without_another_load(pair, loads):
    backbone = vitsplice.load_backbone("tiny-vit")
    settings = {"steps": 2, "overrides": PIXELS}
    results = [splice(pair, backbone=backbone, **settings) for _ in range(2)]
    assert loads == []
    named = splice(pair, backbone="tiny-vit", **settings)
    assert loads == ["tiny-vit"]
    assert all(torch.equal(result.pixels, named.pixels) for result in results)
    assert results[0].settings.backbone == BackboneConfig(name="tiny-vit", network_sha256=backbone.info.sha256)
    again = vitsplice.splice(*pair, vitsplice.settings_for(results[0].settings))
    assert torch.equal(again.pixels, named.pixels)
    assert results[0].record["backbones"] == named.record["backbones"]
    assert results[0].record["backbones"]["main"]["sha256"]


def test_a_loaded_backbone_of_no_plugin_is_recorded_by_its_name(pair):
    backbone = vitsplice_tiny.tiny_vit(name="mine", depth=2)
    result = splice(pair, backbone=backbone, steps=1)
    assert result.settings.backbone == BackboneConfig(name="mine", network_sha256=backbone.info.sha256)
    assert result.record["backbones"]["main"]["layers"] == 2
    with pytest.raises(UnknownName, match="no backbone 'mine'"):
        vitsplice.splice(*pair, result.settings)


@pytest.mark.slow
def test_settings_of_a_loaded_backbone_reject_other_weights_of_its_name(pair):
    settings = splice(pair, backbone=vitsplice_tiny.tiny_vit(depth=2), steps=1).settings
    with pytest.raises(WeightsRejected, match="whose weights differ from those of the registered one"):
        vitsplice.splice(*pair, settings)
    assert vitsplice.splice(*pair, settings, backbone="tiny-vit").finished


@pytest.mark.slow
def test_a_loaded_backbone_stays_in_float32_after_a_run_in_bfloat16(pair):
    backbone = vitsplice.load_backbone("tiny-vit")
    splice(pair, backbone=backbone, precision="bfloat16", steps=1)
    assert next(backbone.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overrides": {"steps": 3}}, "overrides must be a list of texts"),
        ({"backbone": 5}, "backbone is the name of a backbone, or one from vitsplice.load_backbone, not an int"),
        ({"backbone": torch.nn.Identity()}, "not an Identity"),
        ({"backbone": vitsplice_tiny.tiny_vit(), "overrides": ["backbone.weights=x"]}, "can be changed"),
    ],
)
def test_an_invalid_backbone_is_rejected_with_a_short_message(pair, settings, message):
    with pytest.raises(UserError, match=message) as error:
        splice(pair, **settings)
    assert len(str(error.value)) < 200


def test_a_misspelt_keyword_raises_with_the_allowed_and_the_closest_names(pair):
    with pytest.raises(
        UserError,
        match=r"splice\(\) has no argument 'step'; it accepts preset, on_step, .* overrides\. Did you mean steps",
    ) as error:
        splice(pair, step=3)
    assert isinstance(error.value, TypeError)


def test_repr_of_a_result_has_size_steps_loss_and_backbone(pair):
    result = splice(pair, backbone="tiny-vit", steps=2, overrides=PIXELS)
    assert re.fullmatch(r"Result\(38x32 px, 2 of 2 steps, loss [0-9.]+, backbone 'tiny-vit'\)", repr(result))


def test_repr_of_features_has_shape_grid_and_prefix(vit):
    request = vit.info.structure
    features = vit(torch.full((1, 3, 32, 32), 0.5), [request])[request]
    assert repr(features) == "Features(values=(1, 17, 32), grid=(4, 4), prefix=1)"


@pytest.mark.slow
def test_masks_of_booleans_or_one_channel_are_accepted(pair):
    height, width = pair[0].shape[-2:]
    inside = np.zeros((height, width), bool)
    inside[:, : width // 2] = True
    tensor = torch.from_numpy(inside)
    masks = [inside.astype(np.uint8) * 255, inside, tensor, tensor[None], tensor[None, None].float()]
    settings = {"backbone": "tiny-vit", "steps": 1, "overrides": PIXELS}
    results = [splice(pair, structure_mask=mask, **settings).pixels for mask in masks]
    assert all(torch.equal(results[0], other) for other in results[1:])
    assert not torch.equal(results[0], splice(pair, **settings).pixels)


@pytest.mark.parametrize("mask", [torch.zeros(2, 20, 24, dtype=torch.bool), np.zeros((4,), bool)])
def test_a_mask_of_an_invalid_shape_is_rejected(pair, mask):
    with pytest.raises(UserError, match="this one is"):
        splice(pair, structure_mask=mask)


def test_the_preset_of_settings_is_recorded_and_preserved_in_yaml(tmp_path, pair):
    settings = settings_for("tiny", seed=3)
    assert settings.preset == "tiny"
    (tmp_path / "again.yaml").write_text(settings.to_yaml())
    assert settings_for(tmp_path / "again.yaml").preset == "tiny"
    custom = settings.model_copy(update={"preset": None})
    (tmp_path / "custom.yaml").write_text(custom.to_yaml())
    assert settings_for(tmp_path / "custom.yaml").preset == str(tmp_path / "custom.yaml")
    assert settings_for(custom).preset is None
    assert splice(pair, steps=1, overrides=PIXELS).record["preset"] == "tiny"


OVERRIDES = {
    "paper": [SMALL_UNET, "match.grid=6"],
    "official": [SMALL_UNET, "match.grid=6"],
    "quick": [*TINY_SECOND, "stages=[{side: 32}, {side: 40}]", "match.grid=6"],
    "instant": ["backbones.cnn.name=tiny-cnn", "match.grid=6"],
}
"""Overrides by preset for small images."""

NETWORKS = BackboneCache()
"""The tiny networks of all calls of `small_run`."""


def small_run(preset, pair, overrides=(), **masks):
    overrides = [*OVERRIDES[preset], "metrics=none", "resize.size=32", "precision=float32", *overrides]
    steps = None if preset == "instant" else 2
    settings = settings_for(preset, backbone="tiny-vit", steps=steps, overrides=overrides)
    run = Run(*pair, settings, backbones=NETWORKS, **masks)
    list(run.steps())
    return run.pixels()


@cache
def small_run_without_masks(preset):
    """The output of `small_run` for the fixture ``pair``."""
    return small_run(preset, smooth_pair())


def left_half(pair):
    mask = torch.zeros(3, *pair[0].shape[-2:])
    mask[..., : mask.shape[-1] // 2] = 1
    return mask


def assert_appearance_is_masked(preset, pair, overrides=()):
    """Assert that the output depends on the appearance mask, but not on the appearance image outside it."""
    mask, changed = left_half(pair), pair[1].clone()
    changed[..., 24:] = 1 - changed[..., 24:]
    masked, masked_changed = (
        small_run(preset, (pair[0], appearance), overrides, appearance_mask=mask) for appearance in (pair[1], changed)
    )
    assert torch.equal(masked, masked_changed)
    unmasked = small_run(preset, pair, overrides) if overrides else small_run_without_masks(preset)
    assert not torch.equal(masked, unmasked)


@pytest.mark.slow
@pytest.mark.parametrize("preset", OVERRIDES)
def test_pixels_outside_the_appearance_mask_have_no_effect_on_a_preset(preset, pair):
    assert_appearance_is_masked(preset, pair)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["appearance", "structure", "identity", "feature", "texture", "patches"])
def test_pixels_outside_the_appearance_mask_have_no_effect_on_a_loss(loss, pair):
    term = f"terms={{it: {{loss: {loss}, weight: 1, target: appearance}}}}"
    assert_appearance_is_masked("paper", pair, [term, "generator.name=tiny-mix", "generator.options={}"])


@pytest.mark.slow
@pytest.mark.parametrize("preset", OVERRIDES)
def test_white_masks_have_no_effect(preset, pair):
    white = torch.ones(3, 40, 48)
    masked = small_run(preset, pair, structure_mask=white, appearance_mask=white)
    assert torch.equal(masked, small_run_without_masks(preset))


@pytest.mark.slow
@pytest.mark.parametrize("preset", OVERRIDES)
def test_output_outside_the_structure_mask_is_the_structure_image(preset, pair):
    output = small_run(preset, pair, ["mask.feather=0"], structure_mask=left_half(pair))
    assert torch.equal(output[..., 24:], pair[0][0, ..., 24:])
    assert not torch.equal(output[..., :24], pair[0][0, ..., :24])


@pytest.mark.slow
def test_edge_of_the_structure_mask_is_feathered(pair):
    output = small_run("instant", pair, ["mask.feather=0.05"], structure_mask=left_half(pair))
    assert torch.equal(output[..., 32:], pair[0][0, ..., 32:])
    assert not torch.equal(output[..., 24:26], pair[0][0, ..., 24:26])


@pytest.mark.slow
def test_strengths_change_instant(pair):
    changes = [f"{name}={value}" for name in ("structure_strength", "appearance_strength") for value in (0.5, 2.0)]
    plain = small_run_without_masks("instant")
    assert [change for change in changes if torch.equal(small_run("instant", pair, [change]), plain)] == []


@pytest.mark.slow
def test_the_alpha_channel_of_a_cut_out_is_a_mask(pair, tmp_path):
    alpha = Image.new("L", (48, 40))
    alpha.paste(255, (0, 0, 24, 40))
    alpha.save(tmp_path / "mask.png")
    cut_out = Image.new("RGBA", (48, 40), "white")
    cut_out.putalpha(alpha)
    cut_out.save(tmp_path / "cut-out.png")
    for argument in ("structure_mask", "appearance_mask"):
        outputs = [small_run("instant", pair, **{argument: tmp_path / f"{name}.png"}) for name in ("mask", "cut-out")]
        assert torch.equal(*outputs)
    with pytest.raises(UserError, match="black everywhere"):
        small_run("instant", pair, structure_mask=Image.new("RGBA", (48, 40)))


@pytest.mark.slow
def test_settings_for_the_fallback_are_used_only_with_it_and_recorded(pair):
    small, changes = ["generator.options.channels=[4, 4]"], "with_fallback={steps: 2, terms: {identity: {weight: 0}}}"
    with_fallback = splice(pair, overrides=[*small, changes])
    assert with_fallback.record["changed_for_fallback"] == ["steps", "terms.identity"]
    assert [sorted(step.losses) for step in with_fallback.losses] == [
        ["appearance", "structure-entire"],
        ["appearance", "structure"],
    ]
    repeated = vitsplice.splice(*pair, with_fallback.settings)
    assert repeated.record["changed_for_fallback"] == repeated.record["substitutions"] == []
    assert repeated.settings == with_fallback.settings
    assert torch.equal(repeated.pixels, with_fallback.pixels)
    named = splice(pair, backbone="tiny-vit", overrides=[*small, changes])
    assert named.record["steps"]["taken"] == 5
    assert torch.equal(named.pixels, splice(pair, overrides=small).pixels)


@pytest.mark.slow
def test_size_for_the_fallback_is_used_and_recorded(pair):
    short = {"steps": 2, "overrides": [*PIXELS, "with_fallback={size: 24}"]}
    result = splice(pair, **short)
    assert result.pixels.shape == (3, 24, 29)
    repeated = vitsplice.splice(*pair, result.settings)
    assert torch.equal(repeated.pixels, result.pixels)
    assert splice(pair, backbone="tiny-vit", **short).pixels.shape == (3, 32, 38)


@pytest.mark.slow
def test_backbones_that_settings_for_the_fallback_add_are_loaded_only_with_it(pair):
    changes = (
        "with_fallback={backbones: {cnn: {name: tiny-cnn}}, "
        "terms: {detail: {loss: statistics, backbone: cnn, weight: 1, options: {uniform: 1}}}}"
    )
    with_fallback = splice(pair, steps=2, overrides=[*PIXELS, changes, "match.grid=8"])
    assert {name: info["name"] for name, info in with_fallback.record["backbones"].items()} == {
        "main": "tiny-vit",
        "cnn": "tiny-cnn",
    }
    assert all("detail" in step.losses for step in with_fallback.losses)
    assert torch.equal(vitsplice.splice(*pair, with_fallback.settings).pixels, with_fallback.pixels)
    named = splice(pair, backbone="tiny-vit", steps=1, overrides=[*PIXELS, changes])
    assert list(named.record["backbones"]) == ["main"]


def test_mistakes_in_terms_for_the_fallback_are_found_before_a_backbone_is_loaded(pair, loads):
    with pytest.raises(ConfigError, match=r"terms\.structure\.options"):
        splice(pair, overrides=["with_fallback={terms: {structure: {options: {wrong: 1}}}}"])
    assert loads == []


@pytest.mark.parametrize(
    ("arguments", "overrides", "message"),
    [
        ({"seed": 0}, ["seed=7"], "seed and the override 'seed=7' exclude each other"),
        ({"structure_strength": 2.0}, [" structure_strength = 3"], "structure_strength and the override"),
        ({"backbone": "tiny-vit"}, ["backbone.name=tiny-cnn"], "backbone and an override of its name"),
    ],
)
def test_argument_and_override_of_one_setting_exclude_each_other(arguments, overrides, message):
    with pytest.raises(UserError, match=message):
        settings_for("tiny", **arguments, overrides=overrides)


def test_file_with_the_name_of_a_preset_does_not_replace_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").write_text("steps: 3")
    assert settings_for("quick").steps == 160
