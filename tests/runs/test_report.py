import html
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vitsplice
from tests.conftest import smooth_pair
from vitsplice.analysis.inversion import inversion_settings
from vitsplice.contracts import FeatureRequest
from vitsplice.images import encode_png
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.report import report
from vitsplice.support.files import file_sha256


@pytest.fixture(scope="module", autouse=True)
def _two_small_metrics():
    """Measure only two metrics, without a network, and at 64 px instead of 256."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitsplice.metrics.RUN_METRICS", ("gradient-ssim", "lab-patches"))
        patch.setattr("vitsplice.metrics.independent.SIZE", 64)
        yield


@pytest.fixture(scope="module")
def result():
    pair = smooth_pair()
    # fewer terms: the report lists each in the same way
    settings = ["metrics=all", "plots=all", "terms.identity.weight=0", "terms.structure-entire.weight=0"]
    return vitsplice.splice(*pair, preset="tiny", structure_mask=torch.ones_like(pair[1]), overrides=settings)


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    """Folder of the run, which tests only read."""
    return result.save(tmp_path_factory.mktemp("saved") / "out")


@pytest.fixture(scope="module")
def page(saved):
    return (saved / "report.html").read_text()


@pytest.mark.slow
def test_report_names_inputs_losses_metrics_substitutions_and_settings(result, page):
    for part in ("structure image", "appearance image", "structure mask", "gradient-ssim", "loss"):
        assert part in page
    assert "backbone &#39;tiny-gone&#39; is unavailable, so &#39;tiny-vit&#39; is used instead" in page
    assert result.record["inputs"]["structure"]["sha256"] in page
    assert result.settings.to_yaml().splitlines()[0] in page
    assert "lab-patches" in page


@pytest.mark.slow
def test_output_and_structure_image_precede_their_overlay(page):
    overlay = page.index('class="overlay"')
    assert page.index("<figcaption>output, 38x32 px</figcaption>") < overlay
    assert page.index("<figcaption>structure image</figcaption>") < overlay


def test_report_names_the_preset_and_the_sizes(page):
    assert "preset tiny, 5 steps with tiny-vit" in page
    assert "works at 38x32 px; output 38x32 px" in page


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_metrics_are_compared_with_the_start_and_the_structure_image(pair):
    settings = ["backbone.name=tiny-vit", "start=match", "match.grid=8", "metrics=all", "steps=1"]
    result = vitsplice.splice(*pair, preset="tiny", overrides=settings)
    by_name = {metric.name: metric for metric in result.metrics}
    assert by_name["gradient-ssim"].unchanged == pytest.approx(0, abs=1e-6)
    assert by_name["lab-patches"].unchanged > 0
    assert by_name["gradient-ssim"].start > 0
    page = report(result)
    assert all(column in page for column in (">start</button>", ">unchanged structure image</button>"))
    assert f'data-value="{by_name["lab-patches"].start}"' in page


def test_metrics_of_a_run_that_starts_from_the_structure_image_have_no_start(result):
    assert [metric.start for metric in result.metrics] == [None, None]
    assert all(metric.unchanged is not None for metric in result.metrics)


def test_report_of_a_run_without_steps_has_no_losses(pair, tmp_path):
    settings = ["backbone.name=tiny-vit", "start=match", "match.grid=8", "steps=0", "metrics=none", "plots=all"]
    folder = vitsplice.splice(*pair, preset="tiny", overrides=settings).save(tmp_path / "out")
    assert not (folder / "losses.png").exists()
    page = (folder / "report.html").read_text()
    assert "Losses" not in page
    assert "0 steps" in page


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_title_names_the_image_files_and_the_command_has_the_mask(pair, tmp_path):
    paths = {}
    for name, pixels in (("cat and dog", pair[0]), ("b", pair[1]), ("my mask", torch.ones_like(pair[0]))):
        paths[name] = tmp_path / f"{name}.png"
        paths[name].write_bytes(encode_png(pixels))
    result = vitsplice.splice(
        paths["cat and dog"],
        paths["b"],
        preset="tiny",
        structure_mask=paths["my mask"],
        overrides=["metrics=none", "steps=1"],
    )
    page = html.unescape(report(result, (), Path("my out")))
    assert "The structure of cat and dog.png, the appearance of b.png" in page
    assert "--preset 'my out/run.yaml' --structure-mask '" in page


def test_report_of_images_from_memory_has_no_command(page):
    assert "To repeat the run" not in page


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_report_has_no_command_if_an_image_has_changed(pair, tmp_path):
    paths = [tmp_path / "s.png", tmp_path / "a.png"]
    for path, pixels in zip(paths, pair, strict=True):
        path.write_bytes(encode_png(pixels))
    result = vitsplice.splice(*paths, preset="tiny", overrides=["metrics=none", "steps=1"])
    assert "To repeat the run" in report(result)
    paths[1].write_bytes(encode_png(pair[0]))
    assert "To repeat the run" not in report(result)


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize(("mask", "shown"), [("m.png", True), ("m=1.png", True), ("n=1.png", False)])
def test_report_has_no_command_if_it_would_name_another_mask(result, tmp_path, monkeypatch, mask, shown):
    monkeypatch.chdir(tmp_path)
    for name in ("s.png", "a.png", "n", mask):  # "--region n=1.png=1" would name the mask n
        Path(name).write_text(name)
    entries = {name: {"name": name, "sha256": file_sha256(name), "notes": []} for name in ("s.png", "a.png", mask)}
    sizes = {"width": 38, "height": 32}
    inputs = {"structure": entries["s.png"] | sizes, "appearance": entries["a.png"] | sizes}
    regions = [{"appearance": "appearance", "structure_mask": entries[mask], "appearance_mask": None}]
    page = report(replace(result, record=result.record | {"inputs": inputs, "masks": {}, "regions": regions}))
    assert ("To repeat the run" in page) == (f"--region {mask}=1" in page) == shown


@pytest.mark.usefixtures("no_plots")
def test_report_of_an_inversion_names_the_feature(pair):
    settings = inversion_settings(FeatureRequest("key", -2), "invert-pixels", backbone="tiny-vit", steps=1, size=32)
    page = html.unescape(report(vitsplice.splice(pair[0], pair[0], preset=settings)))
    assert "Inversion of key at layer 1 (-2) of " in page
    assert "the appearance of" not in page
    assert "<figcaption>appearance image</figcaption>" not in page
    assert "Output over image" in page
    assert page.count(">image</th>") == 1
    assert not [role for role in ("structure", "appearance") if f">{role} image</th>" in page]


def test_plots_none_writes_no_report_and_no_losses_plot(pair, tmp_path):
    folder = vitsplice.splice(*pair, preset="tiny", overrides=["plots=none", "steps=1"]).save(tmp_path / "out")
    assert not (folder / "report.html").exists()
    assert not (folder / "losses.png").exists()
    assert RunFolder(folder).finished()


@pytest.mark.slow
def test_clear_removes_the_report(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "out")
    RunFolder(folder).clear()
    assert not (folder / "report.html").exists()


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_report_shows_evenly_spaced_previews_with_first_and_last(result, tmp_path):
    folder = RunFolder(tmp_path / "out")
    for step in range(1, 25):
        folder.write_preview(step, result.pixels)
    folder.write_records(result)
    page = (folder.path / "report.html").read_text()
    shown = [step for step in range(1, 25) if f"<figcaption>step {step}</figcaption>" in page]
    assert shown == [1, 4, 8, 11, 14, 17, 21, 24]


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_preview_that_cannot_be_read_is_left_out(result, tmp_path):
    folder = RunFolder(tmp_path / "out")
    first = folder.write_preview(1, result.pixels)
    second = folder.write_preview(2, result.pixels)
    second.write_text("no image")
    page = report(result, folder.previews())
    assert "<figcaption>step 1</figcaption>" in page
    assert "<figcaption>step 2</figcaption>" not in page
    first.write_text("no image")
    assert "Previews" not in report(result, folder.previews())


@pytest.mark.browser
def test_browser_renders_the_report(opened, saved):
    page = opened(saved / "report.html")
    assert page.locator("img").evaluate_all("images => images.every(image => image.naturalWidth > 0)")
    assert page.locator(".overlay input").is_visible()
    assert page.locator("svg").count() == 1
    page.locator("summary").click()
    assert "backbone:" in page.locator("pre").inner_text()
