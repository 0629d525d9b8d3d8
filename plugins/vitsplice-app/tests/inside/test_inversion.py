"""Inversions, without the page."""

import gradio as gr
import pytest
import torch
from releases import expect_released_runs
from vitsplice_app.context import AppContext
from vitsplice_app.events import Work
from vitsplice_app.inside import inversion_tab
from vitsplice_app.inside.inversion import inversion_plan, invert

from vitsplice.analysis import inversion
from vitsplice.analysis.inversion import InversionPlan, plan_inversions
from vitsplice.analysis.inversion import invert as invert_in_memory
from vitsplice.errors import ImageError, UserError
from vitsplice.images import example, from_pil
from vitsplice.presets.settings import settings_for

SHALLOW = ["generator.options={channels: [4, 8], kernels: [5, 3]}", "resize.size=32"]

FORM = {
    "image": str(example("cat-dog")[0]),
    "roles": ["appearance", "structure"],
    "backbone": "tiny-vit",
    "layer": -1,
    "steps": 2,
    "size": 64,
    "seed": 0,
}


def plan_of(**values):
    """The plan of `FORM` with other values."""
    return inversion_plan(**FORM | values)


def shallow(plan):
    """Return a plan of the same inversions with small networks as generators."""
    facets = [request.facet for request in plan.settings]
    settings = next(iter(plan.settings.values()))
    return plan_inversions(
        plan.image, facets, backbone="tiny-vit", steps=settings.steps, size=64, prior="network", overrides=SHALLOW
    )


def test_form_selects_the_features_of_the_roles():
    assert [str(request) for request in plan_of().settings] == ["cls[-1]", "key[-1]"]
    first_layer = plan_of(backbone="tiny-cnn", roles=["structure"], layer=0)
    assert [str(request) for request in first_layer.settings] == ["map[-5]"]


def test_0_steps_are_those_of_the_presets_of_global_and_local_facets():
    expected = [settings_for(preset).steps for preset in ("invert-pixels", "invert")]
    assert [settings.steps for settings in plan_of(steps=0).settings.values()] == expected


@pytest.mark.slow
def test_images_are_those_of_the_python_interface():
    plan = shallow(plan_of())
    assert isinstance(plan, InversionPlan)
    *_, (_, images) = invert(plan)
    expected = invert_in_memory(plan).outputs.values()
    captions = [caption for _, caption in images]
    assert captions[0] == "image"
    assert [caption.partition(":")[0] for caption in captions[1:]] == ["cls at layer 2 (-1)", "key at layer 2 (-1)"]
    assert all(caption.endswith("2 steps") for caption in captions[1:])
    for (image, _), pixels in zip(images[1:], expected, strict=True):
        torch.testing.assert_close(from_pil(image), pixels, atol=0.51 / 255, rtol=0)


@pytest.mark.slow
def test_inversion_is_released_before_the_next_is_built(monkeypatch):
    runs = expect_released_runs(monkeypatch, inversion)
    list(invert(shallow(plan_of())))
    assert len(runs) == 2


@pytest.mark.slow
def test_loading_is_shown_before_the_backbone_is_loaded(build_page, workspace):
    page = build_page(lambda: inversion_tab.build(AppContext(workspace)))
    run = next(event.fn for event in page.fns.values() if event.name == "run")
    states = run(Work(), "absent.png", ["appearance"], "no-such-backbone", -1, 3, 64, 0)
    shown = [str(value) for _, state in zip(range(2), states, strict=False) for value in state.values()]
    assert "loading the backbone" in "".join(shown)


@pytest.mark.slow
def test_fields_of_numbers_leave_the_check_to_the_form(build_page, workspace):
    page = build_page(lambda: inversion_tab.build(AppContext(workspace)))
    numbers = [block for block in page.blocks.values() if isinstance(block, gr.Number)]
    assert [number.preprocess(value) for number in numbers for value in (-5, 1.5)] == [-5, 1.5] * 3


@pytest.mark.slow
def test_stopped_inversion_keeps_its_image_and_no_other_begins():
    (_, first), *_, (_, last) = invert(shallow(plan_of()), lambda: True)
    assert [caption for _, caption in first] == ["image"]
    assert [caption.rpartition(", ")[2] for _, caption in last] == ["image", "stopped after 1 of 2 steps"]


@pytest.mark.parametrize(
    ("field", "label"), [("layer", "Layer"), ("steps", "Steps"), ("size", r"Size \(px\)"), ("seed", "Seed")]
)
def test_numbers_with_a_fraction_are_refused(field, label):
    with pytest.raises(UserError, match=f"field {label} has the value 100.5; give a whole number"):
        plan_of(**{field: 100.5})


def test_unusable_form_is_reported(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="there is no image"):
        plan_of(image=None)
    with pytest.raises(UserError, match="choose at least one feature"):
        plan_of(roles=[])
    with pytest.raises(UserError, match="the field Steps is empty; give a whole number"):
        plan_of(steps=None)
    with pytest.raises(UserError, match="no layer 3"):
        plan_of(layer=3)
    with pytest.raises(UserError, match="steps: -1 is not allowed"):
        plan_of(steps=-1)
    with pytest.raises(UserError, match="seed: -1 is not allowed"):
        plan_of(seed=-1)
    with pytest.raises(ImageError, match=r"broken\.png"):
        list(invert(plan_of(image=str(tmp_path / "broken.png"))))
