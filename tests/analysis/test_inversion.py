import json
from dataclasses import replace

import pytest
import torch

from vitsplice.analysis import inversion
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import OutputBusy, OutputExists, PathRejected, UserError
from vitsplice.runs.artifacts import RunFolder

KEY, CLS = FeatureRequest("key", -1), FeatureRequest("cls", -1)
SHALLOW = "generator.options={channels: [4, 8], kernels: [5, 3]}"
SMALL = {"backbone": "tiny-vit", "size": 32, "overrides": ["resize.size=32", "checkpoint.every=1"]}


LAYERS = 3
"""Of the tiny ViT."""


def plan_of(image, settings):
    return inversion.Plan(image, settings, LAYERS)


def small(request, preset="invert", **more):
    overrides = [*SMALL["overrides"], *([SHALLOW] if preset == "invert" else []), *more.pop("overrides", [])]
    return inversion.settings_of(request, preset, **(SMALL | {"steps": 3} | more | {"overrides": overrides}))


@pytest.mark.parametrize("preset", ["invert", "invert-pixels", "invert-official"])
def test_the_presets_look_at_the_feature_alone(preset):
    settings = inversion.settings_of(CLS, preset)
    assert (settings.terms["inversion"].facet, settings.terms["inversion"].layer) == ("cls", -1)
    assert {term.loss for term in settings.terms.values()} <= {"feature", "smoothness"}
    assert settings.generator.name == "prior" or settings.generator.options["begin"] == "grey"


def test_pixels_hold_a_global_feature_and_a_network_a_local_one():
    assert inversion.settings_of(CLS).generator.name == "pyramid"
    assert inversion.settings_of(KEY).generator.name == "prior"


def test_noise_is_for_features_without_places():
    assert inversion.settings_of(CLS, "invert-official").generator.options["noise"] == [10, 2, 0.5]
    assert inversion.settings_of(KEY, "invert-official").generator.options["noise"] == [0]


def test_a_preset_without_the_term_is_refused():
    with pytest.raises(UserError, match="no term 'inversion'"):
        inversion.settings_of(CLS, "quick")


def test_what_is_asked_of_a_backbone(vit, cnn):
    assert inversion.requests_of(vit.info) == [CLS, KEY]
    assert [r.facet for r in inversion.requests_of(cnn.info)] == ["pooled", "map"]
    assert inversion.requests_of(vit.info, ["key", "cls"], [-1, -2])[1] == FeatureRequest("key", -2)
    with pytest.raises(UserError, match="no facet 'cls'"):
        inversion.requests_of(cnn.info, ["cls"])


@pytest.mark.parametrize("preset", ["invert", "invert-pixels"])
def test_it_comes_nearer_to_the_feature(pair, preset):
    seen = []
    request = KEY
    inversion.invert(pair[0], {request: small(request, preset, steps=30)}, lambda _, step: seen.append(step))
    first, last = (seen[at].losses["inversion"] for at in (0, -1))
    assert last < 0.7 * first


def test_nothing_of_the_image_but_the_feature_gets_in(pair):
    """With the feature's weight at 0 the inversions of two images are the same."""
    made = []
    for image in pair:
        settings = small(KEY, "invert-pixels", overrides=["terms.inversion.weight=1e-30"])
        made.append(inversion.invert(image, {KEY: settings}).made[KEY])
    assert (made[0] - made[1]).abs().max() < 1e-4


def done(plan, out, force=False):
    """Carry a plan out."""
    with inversion.begun(plan, out, force=force):
        for request in plan.settings:
            if found := inversion.recording(plan, request, out):
                with found:
                    list(found.steps(print))
                    found.save()
    return inversion.finished(plan, out)


def test_a_plan_is_gone_on_with_and_ends_with_the_same_bytes(png, tmp_path):
    plan, quiet, out = plan_of(png[0], {r: small(r) for r in (CLS, KEY)}), tmp_path / "quiet", tmp_path / "out"
    done(plan, quiet)
    with inversion.begun(plan, out), inversion.recording(plan, CLS, out) as recording:
        next(recording.steps(print))
    again = inversion.read_plan(out)
    assert again == plan_of(png[0].absolute(), plan.settings)
    found = done(again, out)
    assert inversion.recording(again, CLS, out) is None
    for request in plan.settings:
        name = inversion.name_of(request, LAYERS)
        assert (out / name / "output.png").read_bytes() == (quiet / name / "output.png").read_bytes()
    assert set(found.made) == {CLS, KEY}
    assert found._repr_png_() == inversion.save_sheet(found, out).read_bytes()


def test_other_inversions_are_left_alone(png, tmp_path):
    plan, out = plan_of(png[0], {CLS: small(CLS)}), tmp_path / "out"
    with inversion.begun(plan, out):
        pass
    for other, what in ((replace(plan, image=png[1]), "image"), (replace(plan, settings={KEY: small(KEY)}), "of")):
        with pytest.raises(OutputExists, match=f"another inversion: it differs in {what}"), inversion.begun(other, out):
            pass
    with inversion.begun(plan, out), pytest.raises(OutputBusy), inversion.begun(plan, out, force=True):
        pass


def test_the_same_path_with_another_image_is_another_plan(png, tmp_path):
    plan, out = plan_of(png[0], {KEY: small(KEY)}), tmp_path / "out"
    done(plan, out)
    png[0].write_bytes(png[1].read_bytes())
    with pytest.raises(OutputExists, match="it differs in image"), inversion.begun(plan, out):
        pass


def test_a_layer_counted_from_either_end_is_one(vit):
    assert inversion.requests_of(vit.info, ["key"], [-1, vit.info.layers - 1, 0]) == [
        KEY, FeatureRequest("key", -vit.info.layers),
    ]  # fmt: skip


def test_forced_it_forgets_what_another_plan_had_made(png, tmp_path):
    out = tmp_path / "out"
    done(plan_of(png[0], {KEY: small(KEY), CLS: small(CLS)}), out)
    plan = plan_of(png[1], {KEY: small(KEY, seed=1)})
    with inversion.begun(plan, out, force=True):
        assert {path.name for path in out.rglob("*") if path.is_file()} == {inversion.BEGUN, ".lock"}
    done(plan, out)
    facts = RunFolder(out / inversion.name_of(KEY, LAYERS)).record()
    assert facts["inputs"]["structure"]["name"] == str(png[1])
    assert facts["seed"] == 1


def test_runs_of_something_else_are_left_alone(png, tmp_path):
    (tmp_path / inversion.name_of(KEY, LAYERS)).mkdir()
    with pytest.raises(OutputExists), inversion.begun(plan_of(png[0], {KEY: small(KEY)}), tmp_path):
        pass


def test_a_term_that_does_not_run_at_the_last_step_has_its_last_value(png, tmp_path):
    plan = plan_of(png[0], {KEY: small(KEY, steps=4, overrides=["terms.inversion.every=2"])})
    out = tmp_path / "out"
    with inversion.begun(plan, out), inversion.recording(plan, KEY, out) as recording:
        values = [step.losses.get(inversion.TERM) for step in recording.steps(print)]
        recording.save()
    assert values[-1] is None
    assert inversion.finished(plan, out).left[KEY] == values[-2]
    assert inversion.invert(png[0], plan.settings).left[KEY] == values[-2]


def test_noise_that_is_asked_for_stays():
    assert inversion.settings_of(KEY).generator.options["noise"] == [0.0]
    assert inversion.settings_of(KEY, overrides=["generator.options.noise=[1.0]"]).generator.options["noise"] == [1.0]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"image": 1, "of": []}', '{"image": "a", "of": [1]}'])
def test_a_plan_that_cannot_be_read_is_told(tmp_path, text):
    (tmp_path / inversion.BEGUN).write_text(text)
    with pytest.raises(UserError, match="no inversions that can go on"):
        inversion.read_plan(tmp_path)


def test_the_sheet_has_a_row_a_facet(pair):
    made = {FeatureRequest(facet, layer): torch.rand(3, 30, 40) for facet in ("cls", "key") for layer in (-1, -2)}
    found = inversion.Inversions(pair[0], made, dict.fromkeys(made, 0.5), LAYERS)
    one = inversion.Inversions(pair[0], dict(list(made.items())[:2]), dict.fromkeys(made, 0.5), LAYERS)
    assert found.sheet.shape[1] == 2 * one.sheet.shape[1]


HOSTILE = [
    ["a", "/../../victim/run"], ["../victim", -1], ["..", -1], ["/tmp", -1], ["key", "-1"], ["key", -1.0],
    ["key", True], ["key\0", -1], ["key/a", -1], ["k" * 300, -1], ["", -1], [5, -1], [None, -1],
    ["key"], ["key", -1, 0], "key",
]  # fmt: skip


@pytest.mark.parametrize("feature", HOSTILE, ids=repr)
@pytest.mark.parametrize("alike", [False, True], ids=["feature", "feature and settings"])
def test_a_plan_with_a_feature_that_is_none_is_refused(png, tmp_path, feature, alike):
    out = tmp_path / "out"
    with inversion.begun(plan_of(png[0], {KEY: small(KEY)}), out):
        pass
    known = json.loads((out / inversion.BEGUN).read_text())
    known["of"][0]["feature"] = feature
    if alike and len(feature) == 2:
        known["of"][0]["settings"]["terms"][inversion.TERM] |= {"facet": feature[0], "layer": feature[1]}
    (out / inversion.BEGUN).write_text(json.dumps(known))
    with pytest.raises(UserError):
        inversion.checked(inversion.read_plan(out))


def test_a_feature_that_the_backbone_has_not_is_refused_before_anything_is_written(png, tmp_path):
    plan = plan_of(png[0], {FeatureRequest("map", -1): small(FeatureRequest("map", -1))})
    with pytest.raises(UserError, match="no facet 'map'"):
        inversion.checked(plan)
    with pytest.raises(UserError, match="no layer -9"):
        inversion.checked(plan_of(png[0], {FeatureRequest("key", -9): small(FeatureRequest("key", -9))}))


def test_forced_it_removes_nothing_that_a_hostile_plan_names(png, tmp_path, victim):
    out, plan = tmp_path / "out", plan_of(png[0], {KEY: small(KEY)})
    with inversion.begun(plan, out):
        pass
    known = json.loads((out / inversion.BEGUN).read_text())
    known["of"].append({"feature": ["a", f"/../../{victim.name}/run"], "settings": known["of"][0]["settings"]})
    (out / inversion.BEGUN).write_text(json.dumps(known))
    with inversion.begun(plan, out, force=True):
        pass
    assert inversion.read_plan(out).settings == plan.settings
    for link in (inversion.name_of(KEY, LAYERS), inversion.SHEET, inversion.BEGUN):
        (out / link).unlink(missing_ok=True)
        (out / link).symlink_to(victim / "run")
        with pytest.raises(PathRejected, match="leads out"), inversion.begun(plan, out, force=True):
            pass
        (out / link).unlink()
