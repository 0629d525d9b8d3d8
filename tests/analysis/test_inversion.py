import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from releases import expect_released_runs

from vitsplice.analysis import inversion
from vitsplice.analysis.inversion import (
    InversionPlan,
    combined_requests,
    inversion_settings,
    invert,
    plan_inversions,
)
from vitsplice.analysis.inversion_folder import (
    PLAN_FILE,
    SHEET,
    inversion_folder,
    read_inversions,
    read_plan,
    record_inversion,
    save_sheet,
)
from vitsplice.config import BackboneConfig
from vitsplice.contracts import FeatureRequest
from vitsplice.engine.backbones import BackboneCache, load_configured
from vitsplice.engine.values import last_loss
from vitsplice.errors import OutputExists, PathRejected, UserError
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import RunFolder

KEY, CLS = FeatureRequest("key", -1), FeatureRequest("cls", -1)
SHALLOW = "generator.options={channels: [4, 8], kernels: [5, 3]}"
SMALL = {"backbone": "tiny-vit", "size": 32, "overrides": ["resize.size=32", "checkpoint.every=1", "plots=none"]}
LAYERS = 3
"""Number of layers of the tiny ViT."""


def small(request, preset="invert", **more):
    overrides = [*SMALL["overrides"], *([SHALLOW] if preset == "invert" else []), *more.pop("overrides", [])]
    return inversion_settings(request, preset, **(SMALL | {"steps": 3} | more | {"overrides": overrides}))


def plan_of(image, *requests, **settings):
    return InversionPlan(image, {request: small(request, **settings) for request in requests}, LAYERS)


def run_in_folder(plan, out):
    with inversion_folder(plan, out):
        for request in plan.settings:
            with record_inversion(plan, request, out) or nullcontext() as recording:
                if recording:
                    list(recording.steps(print))
                    recording.save()
    return read_inversions(plan, out)


def edit_plan(out, edit):
    path = out / PLAN_FILE
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def test_path_of_the_same_image_with_two_dots_resumes_its_inversions(png, tmp_path):
    (tmp_path / "new").mkdir()
    for path in (png[0], tmp_path / "new" / ".." / png[0].name):
        with inversion_folder(InversionPlan(path, {CLS: small(CLS)}, LAYERS), tmp_path / "out"):
            pass


@pytest.mark.parametrize("preset", ["invert", "invert-pixels", "invert-official"])
def test_presets_use_the_feature_and_no_other_data_term(preset):
    settings = inversion_settings(CLS, preset)
    assert (settings.terms["inversion"].facet, settings.terms["inversion"].layer) == ("cls", -1)
    assert {term.loss for term in settings.terms.values()} <= {"feature", "smoothness"}
    # the start is not the image
    assert settings.generator.name == "prior" or settings.generator.options["init"] == "grey"


def test_default_prior_is_pixels_for_global_and_network_for_local_facets():
    assert inversion_settings(CLS).generator.name == "pyramid"  # pixels, at several sizes
    assert inversion_settings(KEY).generator.name == "prior"  # a network: deep image prior


def test_local_facets_get_no_noise_unless_it_is_set():
    assert inversion_settings(CLS, "invert-official").generator.options["noise"] == [10, 2, 0.5]
    assert inversion_settings(KEY, "invert-official").generator.options["noise"] == [0]
    for noise in ([1.0], [10.0, 2.0, 0.5]):
        settings = inversion_settings(KEY, overrides=[f"generator.options.noise={noise}"])
        assert settings.generator.options["noise"] == noise


def test_an_unknown_prior_and_overrides_that_are_not_a_list_of_texts_are_refused(png):
    with pytest.raises(UserError, match=r"unknown image prior 'net'; choose network or pixels"):
        plan_inversions(png[0], prior="net")
    for overrides in ("steps=3", {"seed": 1}):
        with pytest.raises(UserError, match=r"overrides must be a list, such as overrides=\['terms"):
            plan_inversions(png[0], overrides=overrides)
    with pytest.raises(UserError, match="overrides must be a list of texts, .* not a list with an int"):
        plan_inversions(png[0], overrides=[1])


@pytest.mark.parametrize("wrong", [{"facets": "cls"}, {"layers": -1}])
def test_a_single_facet_or_layer_is_refused(png, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError) as refused:
        plan_inversions(png[0], backbone="tiny-vit", **wrong)
    assert str(refused.value) == f"{name} must be a list, such as {name}={[value]!r}; it is {value!r}"


def test_a_plan_stores_the_backbone_in_use_and_its_substitution(png, tmp_path):
    preset = inversion_settings(KEY, "invert-pixels", backbone="tiny-vit", steps=2)
    unavailable = {"backbones": {"main": BackboneConfig(name="tiny-gone", fallback=("tiny-cnn",))}}
    plan = plan_inversions(png[0], preset=preset.model_copy(update=unavailable))
    assert {request.facet for request in plan.settings} == {"pooled", "map"}
    assert {(s.backbone.name, s.backbone.fallback) for s in plan.settings.values()} == {("tiny-cnn", ())}
    assert {(s.device, s.precision) for s in plan.settings.values()} == {(preset.device, preset.precision)}
    assert "'tiny-gone' are unavailable" in plan.substitutions[0]
    with inversion_folder(plan, tmp_path / "out") as folder:
        assert read_plan(folder) == replace(plan, image=png[0].absolute())


@pytest.mark.slow
def test_a_plan_with_a_cache_of_backbones_loads_the_backbone_once(png, monkeypatch):
    loads = []
    monkeypatch.setattr("vitsplice.engine.backbones.load_configured", lambda *a: loads.append(a) or load_configured(*a))
    backbones = BackboneCache()
    for _ in range(2):
        plan = plan_inversions(png[0], preset="invert-pixels", backbone="tiny-vit", size=32, backbones=backbones)
        for _ in inversion.inversion_runs(plan, backbones):
            pass
    assert len(loads) == 1


@pytest.mark.slow
def test_inversion_is_released_before_the_next_is_built(png, monkeypatch):
    runs = expect_released_runs(monkeypatch, inversion)
    invert(plan_of(png[0], KEY, CLS, preset="invert-pixels", steps=1))
    assert len(runs) == 2


def test_a_facet_that_cannot_name_a_folder_is_refused(png, tmp_path):
    upper, spaced = FeatureRequest("Key", -1), FeatureRequest("a key", -1)
    with inversion_folder(InversionPlan(png[0], {upper: small(upper)}, LAYERS), tmp_path):
        pass
    assert list(read_plan(tmp_path).settings) == [upper]
    with pytest.raises(UserError, match="facet 'a key' cannot be inverted: a folder is named after it"):
        InversionPlan(png[0], {spaced: small(spaced)}, LAYERS)


def test_preset_without_the_term_is_refused():
    with pytest.raises(UserError, match="no term 'inversion'"):
        inversion_settings(CLS, "quick")


def test_default_requests_are_those_for_appearance_and_structure_and_facets_are_combined_with_layers(vit, cnn):
    assert combined_requests(vit.info) == [CLS, KEY]
    assert [request.facet for request in combined_requests(cnn.info)] == ["pooled", "map"]
    assert combined_requests(vit.info, ["key", "cls"], [-1, -2])[1] == FeatureRequest("key", -2)
    both_ends = combined_requests(vit.info, ["key"], [-1, vit.info.layers - 1, 0])
    assert both_ends == [KEY, FeatureRequest("key", -vit.info.layers)]
    with pytest.raises(UserError, match="no facet 'cls'"):
        combined_requests(cnn.info, ["cls"])


def test_plan_takes_the_features_of_the_backbone_in_the_overrides(png):
    plan = plan_inversions(png[0], overrides=["backbone={name: tiny-cnn}"], steps=2)
    assert [request.facet for request in plan.settings] == ["pooled", "map"]
    assert {(settings.backbone.name, settings.steps) for settings in plan.settings.values()} == {("tiny-cnn", 2)}


@pytest.mark.parametrize("in_preset", [False, True])
def test_plan_takes_the_features_of_the_backbone_of_the_term(png, cnn, in_preset):
    overrides = ["backbones={a: {name: tiny-vit}, b: {name: tiny-cnn}}", "terms.inversion.backbone=b"]
    if in_preset:
        plan = plan_inversions(png[0], preset=settings_for("invert", overrides=overrides))
    else:
        plan = plan_inversions(png[0], overrides=overrides)
    assert [request.facet for request in plan.settings] == ["pooled", "map"]
    assert plan.layers == cnn.info.layers


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["invert", "invert-pixels"])
def test_loss_decreases(png, preset):
    steps = []
    invert(plan_of(png[0], KEY, preset=preset, steps=8), lambda _, step: steps.append(step))
    first, last = (steps[index].losses["inversion"] for index in (0, -1))
    assert last < 0.7 * first


@pytest.mark.slow
def test_image_can_be_read_after_each_step_of_a_run(png):
    plan = plan_of(png[0], CLS, KEY, preset="invert-pixels")
    result, images = invert(plan), {}
    for request, run in inversion.inversion_runs(plan):
        assert math.isnan(last_loss(run.history, inversion.TERM))
        images[request] = [run.pixels() for _ in run.steps()]
        assert last_loss(run.history, inversion.TERM) == result.losses[request]
    assert {request: len(after_steps) for request, after_steps in images.items()} == {CLS: 3, KEY: 3}
    assert all(torch.equal(after_steps[-1], result.outputs[request]) for request, after_steps in images.items())
    assert not torch.equal(images[KEY][0], images[KEY][1])


@pytest.mark.slow
def test_output_depends_on_the_image_only_through_the_feature(png):
    """With the feature's weight near 0, inversions of two images are equal."""
    options = {"preset": "invert-pixels", "overrides": ["terms.inversion.weight=1e-30"]}
    first, second = (invert(plan_of(image, KEY, **options)).outputs[KEY] for image in png)
    assert (first - second).abs().max() < 1e-4


@pytest.mark.slow
def test_resumed_plan_gives_identical_bytes(png, tmp_path):
    plan = plan_of(png[0], CLS, KEY, preset="invert-pixels", steps=2)
    uninterrupted, out = tmp_path / "uninterrupted", tmp_path / "out"
    run_in_folder(plan, uninterrupted)
    with inversion_folder(plan, out), record_inversion(plan, CLS, out) as recording:
        next(recording.steps(print))
    stored = read_plan(out)
    assert stored == replace(plan, image=png[0].absolute())
    inversions = run_in_folder(stored, out)
    assert record_inversion(stored, CLS, out) is None
    for request in plan.settings:
        output = f"{plan.run_folders[request]}/output.png"
        assert (out / output).read_bytes() == (uninterrupted / output).read_bytes()
    assert set(inversions.outputs) == {CLS, KEY}
    assert inversions._repr_png_() == save_sheet(inversions, out).read_bytes()


def test_folder_of_another_plan_is_refused(png, tmp_path):
    plan, out = plan_of(png[0], CLS), tmp_path / "out"
    with inversion_folder(plan, out):
        pass
    for other, key in ((replace(plan, image=png[1]), "image"), (plan_of(png[0], KEY), "inversions")):
        with (
            pytest.raises(OutputExists, match=f"another inversion: it differs in {key}"),
            inversion_folder(other, out),
        ):
            pass
    png[0].write_bytes(png[1].read_bytes())
    with pytest.raises(OutputExists, match="it differs in image"), inversion_folder(plan, out):
        pass


@pytest.mark.slow
def test_force_removes_the_results_of_another_plan(png, tmp_path):
    out = tmp_path / "out"
    run_in_folder(plan_of(png[0], KEY, CLS, preset="invert-pixels", steps=1), out)
    plan = plan_of(png[1], KEY, preset="invert-pixels", steps=1, seed=1)
    with inversion_folder(plan, out, force=True):
        assert {path.name for path in out.rglob("*") if path.is_file()} == {PLAN_FILE, ".lock"}
    run_in_folder(plan, out)
    facts = RunFolder(out / plan.run_folders[KEY]).record()
    assert facts["inputs"]["structure"]["name"] == str(png[1])
    assert facts["seed"] == 1


def test_force_leaves_no_empty_folder_of_an_earlier_inversion(png, tmp_path):
    earlier, out = plan_of(png[0], KEY, preset="invert-pixels"), tmp_path / "out"
    with inversion_folder(earlier, out), record_inversion(earlier, KEY, out):
        pass
    assert (out / earlier.run_folders[KEY]).is_dir()
    with inversion_folder(plan_of(png[0], CLS), out, force=True):
        assert not (out / earlier.run_folders[KEY]).exists()


def test_an_image_that_would_be_replaced_or_removed_is_refused(png, tmp_path):
    earlier, out = plan_of(png[0], KEY), tmp_path / "out"
    with inversion_folder(earlier, out):
        pass
    (out / earlier.run_folders[KEY]).mkdir()
    for image in (out / earlier.run_folders[KEY] / "output.png", out / SHEET):
        image.write_bytes(png[1].read_bytes())
        with pytest.raises(UserError, match="is an output file in .* and would be replaced or removed; move it"):
            inversion_folder(plan_of(image, CLS), out, force=True)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["output.png", "losses.csv"])
def test_a_finished_inversion_with_a_missing_result_is_restarted(png, tmp_path, missing):
    plan, out = plan_of(png[0], CLS, preset="invert-pixels", steps=1), tmp_path / "out"
    inversions = run_in_folder(plan, out)
    (out / plan.run_folders[CLS] / missing).unlink()
    again = run_in_folder(plan, out)
    assert torch.equal(again.outputs[CLS], inversions.outputs[CLS])
    assert again.losses == inversions.losses


def test_folder_with_a_run_folder_but_no_plan_is_refused(png, tmp_path):
    plan = plan_of(png[0], KEY)
    (tmp_path / plan.run_folders[KEY]).mkdir()
    with pytest.raises(OutputExists), inversion_folder(plan, tmp_path):
        pass


@pytest.mark.slow
def test_loss_of_a_term_that_skips_the_last_step_is_its_last_value(png, tmp_path):
    options = {"preset": "invert-pixels", "steps": 4, "overrides": ["terms.inversion.every=2"]}
    plan, out = plan_of(png[0], KEY, **options), tmp_path / "out"
    with inversion_folder(plan, out), record_inversion(plan, KEY, out) as recording:
        values = [step.losses.get(inversion.TERM) for step in recording.steps(print)]
        recording.save()
    assert values[-1] is None
    assert read_inversions(plan, out).losses[KEY] == values[-2]
    assert invert(plan).losses[KEY] == values[-2]


def test_sheet_has_a_row_for_each_facet(pair):
    outputs = {FeatureRequest(facet, layer): torch.rand(3, 30, 40) for facet in ("cls", "key") for layer in (-1, -2)}
    both = inversion.Inversions(pair[0], outputs, dict.fromkeys(outputs, 0.5), LAYERS)
    cls_only = replace(both, outputs={request: outputs[request] for request in outputs if request.facet == "cls"})
    assert both.sheet.shape[1] == 2 * cls_only.sheet.shape[1]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"image": 1, "of": []}', '{"format": 2, "inversions": [1]}'])
def test_invalid_plan_file_is_reported(tmp_path, text):
    (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(UserError, match="no inversions that can be resumed"):
        read_plan(tmp_path)


def test_plan_of_another_format_names_the_version_that_wrote_it(png, tmp_path):
    with inversion_folder(plan_of(png[0], KEY), tmp_path):
        pass
    edit_plan(tmp_path, lambda record: record.update(format=1, versions={"vitsplice": "0.0.9"}))
    with pytest.raises(UserError, match=r"written by vitsplice 0\.0\.9 in format 1"):
        read_plan(tmp_path)


HOSTILE = [
    ("a", "/../../victim/run"), ("../victim", -1), ("..", -1), ("/tmp", -1), ("key", 0), ("key", True), ("key", None),
    ("key\0", -1), ("key/a", -1), ("k" * 300, -1), ("", -1), (5, -1), (None, -1), ("key", -LAYERS - 1),
]  # fmt: skip


@pytest.mark.parametrize(("facet", "layer"), HOSTILE, ids=repr)
def test_plan_with_an_invalid_feature_is_refused(png, tmp_path, facet, layer):
    with inversion_folder(plan_of(png[0], KEY), tmp_path):
        pass
    feature = {"facet": facet, "layer": layer}
    edit_plan(tmp_path, lambda record: record["inversions"][0]["terms"][inversion.TERM].update(feature))
    with pytest.raises(UserError):
        read_plan(tmp_path)


def test_force_removes_nothing_that_a_hostile_plan_names(png, tmp_path, victim):
    out, plan = tmp_path / "out", plan_of(png[0], KEY)
    with inversion_folder(plan, out):
        pass
    feature = {"facet": f"/../../{victim.name}/run"}
    edit_plan(out, lambda record: record["inversions"][0]["terms"][inversion.TERM].update(feature))
    with inversion_folder(plan, out, force=True):
        pass
    assert read_plan(out).settings == plan.settings
    for link in (plan.run_folders[KEY], SHEET, PLAN_FILE):
        (out / link).unlink(missing_ok=True)
        (out / link).symlink_to(victim / "run")
        with pytest.raises(PathRejected, match="leads out"), inversion_folder(plan, out, force=True):
            pass
        (out / link).unlink()
