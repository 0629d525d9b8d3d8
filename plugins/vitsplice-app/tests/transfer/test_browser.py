"""The tab Transfer in a browser."""

import base64
import shlex
import zipfile
from threading import Event

import gradio as gr
import pytest
import yaml
from app_page import FEW_FRAMES, SIZE, checked_app_pages
from PIL import Image
from vitsplice_app.transfer import tab as transfer_tab
from vitsplice_app.workspace import PREFIX

from tests.conftest import TINY_NETWORKS, write_labels, write_pair
from vitsplice.cli import main
from vitsplice.images import example, read
from vitsplice.presets.settings import settings_for

pytestmark = pytest.mark.browser

DROP = """
(target, [name, data]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type: "image/png"}));
    for (const type of ["dragenter", "dragover", "drop"])
        target.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}
"""
"""Script that drops a file on an element."""

ALERTS_ARE = """
sides => {
    const boxes = [...document.querySelectorAll("[role=alert]")].map(alert => alert.getBoundingClientRect());
    const shown = boxes.filter(box => box.width > 0).map(box => box.left < innerWidth / 2 ? "left" : "right");
    return String(shown) === String(sides);
}
"""
"""Script that compares the sides of the page on which errors are visible."""

RECORD_ENABLED = """
button => {
    button.wasEnabled = false;
    const record = () => { button.wasEnabled ||= !button.disabled; };
    new MutationObserver(record).observe(button, {attributeFilter: ["disabled"]});
}
"""
"""Script that records whether a button is enabled again after it was disabled."""

SMALL = ("metrics=none", "plots=none", "match.grid=8", "checkpoint.seconds=0")
QUICK = (*TINY_NETWORKS, *SMALL, "steps=6", "previews=6", "stages=[{side: 24}, {side: 32}]")

EDITOR_WARNINGS = ("    at ", "[.WebGL")
"""Beginnings of warnings of the library that Gradio's editor draws with, and of drawing without a GPU."""


class TransferTab:
    """What a person does on the tab."""

    def __init__(self, page):
        page.set_default_timeout(60_000)
        self.page = page

    def block(self, label):
        """The component with this label."""
        return self.page.locator(".block", has=self.page.get_by_test_id("block-label").filter(has_text=label)).last

    def drop(self, label, path):
        target = self.block(label).locator("button").first
        target.wait_for()
        target.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])
        self.block(label).locator("img").wait_for(state="attached")

    def choose_files(self, label, *paths):
        """Choose files for an input, and wait until they are uploaded."""
        block = self.block(label)
        block.locator("input[type=file]").set_input_files([str(path) for path in paths])
        block.get_by_text(paths[-1].stem).first.wait_for()

    def select_preset(self, name):
        self.page.get_by_label("Preset", exact=True).click()
        self.page.get_by_role("option", name=f"{name}:").click()

    def choose_preset(self, name, first_line):
        """Select a preset, and wait until its YAML is shown."""
        self.select_preset(name)
        self.wait_for(first_line)

    def edit_yaml(self, text, answer="valid"):
        self.page.locator(".cm-content[contenteditable=true]").first.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.wait_for(answer)

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def run_to_end(self):
        """Press Run, and wait until it is disabled and enabled again."""
        button = self.page.get_by_role("button", name="Run", exact=True).element_handle()
        button.evaluate(RECORD_ENABLED)
        button.click()
        self.page.wait_for_function("button => button.wasEnabled", arg=button)

    def wait_for(self, text):
        self.page.get_by_text(text).first.wait_for()

    def wait_for_alerts(self, *sides):
        """Wait until only these sides of the page, left or right, show an error."""
        self.page.wait_for_function(ALERTS_ARE, arg=list(sides))

    def slide(self):
        """Move the slider of the result to the left, and check that it uncovers more of the output."""
        image = self.block("structure image | output").locator("img").last
        image.scroll_into_view_if_needed()
        box, before = image.bounding_box(), image.get_attribute("style")
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(*middle)
        self.page.mouse.down()
        self.page.mouse.move(middle[0] - box["width"] / 4, middle[1], steps=5)
        self.page.mouse.up()
        assert "clip-path: inset(0px 0px 0px 50%)" in before
        assert "clip-path: inset(0px 0px 0px 2" in image.get_attribute("style")
        slider = self.page.get_by_role("slider", name="Divider")
        self.page.wait_for_function("slider => Math.abs(slider.value - 25) < 2", arg=slider.element_handle())
        slider.press("End")
        uncovered = "image => parseFloat(image.style.clipPath.split(' ').at(-1)) > 90"
        self.page.wait_for_function(uncovered, arg=image.element_handle())

    def paint(self, label):
        """Paint a stroke across the middle of an editor."""
        canvas = self.block(label).locator("canvas").first
        canvas.scroll_into_view_if_needed()
        self.page.wait_for_timeout(500)
        box = canvas.bounding_box()
        left, top = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
        self.page.mouse.move(left, top)
        self.page.mouse.down()
        self.page.mouse.move(left + box["width"] / 3, top, steps=8)
        self.page.mouse.up()

    def download(self, folder):
        """Download the run that is shown, and unpack it."""
        with self.page.expect_download() as download:
            self.page.get_by_text("Download everything").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            archive.extractall(folder)

    def preview(self):
        return self.page.get_by_alt_text("preview of the output").get_attribute("src")


@pytest.fixture
def tab(page):
    return TransferTab(page)


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path)


def edited_yaml(preset, *overrides):
    """YAML of a preset with overrides; it omits default values, for which the editor would need seconds."""
    values = settings_for(preset, overrides=overrides).model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(values, sort_keys=False)


def repeat_by_command_line(tab, folder, monkeypatch):
    """Download the run of `quick`, run its command, check that the outputs are the same, and return the command."""
    command = tab.block("Command line").locator(".cm-content").inner_text()
    tab.download(folder)
    (run,) = folder.glob("quick-*")
    monkeypatch.chdir(run)
    assert main(shlex.split(command)[1:]) == 0
    for name in ("output.png", "losses.csv", "run.yaml", "previews/step-000000.png", "previews/step-000006.png"):
        assert (run / name).read_bytes() == (run / "again" / name).read_bytes(), name
    return command


def test_dropped_images_run_stop_resume_and_download_with_the_bytes_of_the_command_line(
    tab, pair, tmp_path, monkeypatch
):
    page = tab.page
    for label, path in zip(("Structure image", "Appearance image"), pair, strict=True):
        tab.drop(label, path)
    page.get_by_text("Advanced: the preset as YAML").click()
    tab.choose_preset("instant", "# Seconds, no optimisation")
    tab.edit_yaml(edited_yaml("instant", "backbone.name=tiny-vit", "backbones.cnn.name=tiny-cnn", *SMALL))
    tab.press("Run")
    tab.wait_for("run 1: instant, ")
    page.get_by_text("More appearance images, regions").click()
    tab.choose_files("More appearance images", pair[0])
    regions = [write_labels(path) for path in pair]
    tab.choose_files("Regions of the structure image", regions[0])
    tab.choose_files("Regions of each appearance image", regions[1], regions[0])

    tab.choose_preset("quick", "# One to three minutes")
    awake = tmp_path / "awake"  # ends the pauses of the term
    pauses = f"terms.nap={{loss: tiny-nap, weight: 1, options: {{seconds: 0.35, until: {awake}}}}}"
    tab.edit_yaml(edited_yaml("quick", *QUICK, pauses))
    tab.press("Run")
    tab.wait_for("of 6 steps")
    first = tab.preview()
    page.wait_for_function("first => document.querySelector('img[alt^=preview]').src != first", arg=first)
    tab.press("Stop")
    page.get_by_role("button", name="Stopping…", disabled=True).wait_for()
    tab.wait_for("run 2: quick, stopped after")
    page.get_by_role("button", name="Stop", exact=True, disabled=True).wait_for()
    awake.touch()
    tab.press("Resume")
    tab.wait_for("run 2: quick, 6 steps")

    tab.slide()
    page.get_by_text("As command line, as Python").click()
    assert repeat_by_command_line(tab, tmp_path, monkeypatch).count("--region ") == 2

    page.get_by_alt_text("1: instant").click()
    tab.wait_for("run 2 | run 1")


def test_broken_image_shows_an_error_until_it_is_replaced_and_error_of_the_yaml_is_shown_once(tab, pair, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    tab.drop("Structure image", pair[0])
    tab.drop("Appearance image", tmp_path / "broken.png")
    alert = tab.page.get_by_role("alert").filter(has_text="broken.png")
    alert.wait_for()
    assert PREFIX not in alert.inner_text()
    tab.run_to_end()
    assert alert.is_visible()
    tab.page.get_by_role("button", name="Example: apple and orange").first.click()
    alert.wait_for(state="hidden")

    tab.page.get_by_text("Advanced: the preset as YAML").click()
    tab.edit_yaml("steps: x", "YAML: steps: 'x' is not allowed")
    tab.wait_for_alerts("left")
    tab.press("Run")
    tab.wait_for_alerts("right")
    tab.edit_yaml(edited_yaml("tiny"))
    tab.wait_for_alerts()


def test_latest_of_fast_preset_choices_is_shown_and_used_by_a_run_started_right_after(tab, pair, monkeypatch):
    check, may_end = transfer_tab.read_yaml, {"instant": Event(), "tiny": Event()}

    def waiting_check(preset, *arguments):
        assert may_end[preset].wait(timeout=20)
        return check(preset, *arguments)

    page = tab.page
    page.get_by_text("Advanced: the preset as YAML").click()
    with monkeypatch.context() as patched:
        patched.setattr(transfer_tab, "read_yaml", waiting_check)
        for name in may_end:
            tab.select_preset(name)
        page.wait_for_timeout(500)
        may_end["instant"].set()
        tab.wait_for("# Seconds, no optimisation")
        may_end["tiny"].set()
        page.get_by_text("# Seconds, no optimisation").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True, disabled=False).wait_for()
    steps = page.get_by_role("spinbutton", name="number input for Steps").element_handle()
    page.wait_for_function("steps => steps.value === '5'", arg=steps)

    for label, path in zip(("Structure image", "Appearance image"), pair, strict=True):
        tab.drop(label, path)
    tab.choose_preset("quick", "# One to three minutes")
    tab.select_preset("tiny")
    page.wait_for_timeout(50)
    tab.press("Run")
    tab.wait_for("run 1: tiny, 5 steps")


def test_run_whose_result_cannot_be_shown_does_not_block_the_page(context, server, pair, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    with checked_app_pages(context, server, ("Failed to load resource", "Error")) as open_url:
        tab = TransferTab(open_url(server.url))
        for label, path in zip(("Structure image", "Appearance image"), pair, strict=True):
            tab.drop(label, path)
        tab.select_preset("tiny")
        with monkeypatch.context() as patched:
            patched.setattr(gr.ImageSlider, "postprocess", full_disk)
            tab.press("Run")
            tab.wait_for("The result cannot be shown")
        tab.page.get_by_role("button", name="Stop", exact=True, disabled=True).wait_for()
        tab.press("Run")
        tab.wait_for("run 2: tiny, 5 steps")


@pytest.mark.weights
@pytest.mark.usefixtures("small_metrics")
def test_painted_mask_and_quick_with_pretrained_networks(browser, server, tmp_path):
    with (
        browser.new_context(viewport=SIZE, device_scale_factor=0.5) as context,
        checked_app_pages(context, server, EDITOR_WARNINGS) as open_url,
    ):
        context.add_init_script(FEW_FRAMES)
        tab = TransferTab(open_url(server.url))
        for label, path in zip(("Structure image", "Appearance image"), example(), strict=True):
            small = tmp_path / f"{path.stem}.png"
            Image.open(path).resize((128, 128)).save(small)  # the editor reads the pixels back all the time
            tab.drop(label, small)
        tab.page.get_by_text("Advanced: the preset as YAML").click()
        tab.choose_preset("instant", "# Seconds, no optimisation")
        tab.edit_yaml(edited_yaml("instant", "match.grid=10"))
        tab.page.get_by_label("Paint masks").check()
        tab.paint("Structure mask")
        tab.press("Run")
        tab.wait_for("run 1: instant, ")
        assert tab.page.get_by_role("row", name="cnn-statistics").count() == 1
        tab.download(tmp_path)

        tab.page.get_by_label("Paint masks").uncheck()
        tab.choose_preset("quick", "# One to three minutes")
        small = (
            "size=128",
            "match.grid=10",
            "stages=[{side: 112}]",
            "backbones.vit.side=112",
            "terms.detail.options.samples=200",
        )
        tab.edit_yaml(edited_yaml("quick", *small, "steps=3", "metrics=none", "plots=none"))
        tab.press("Run")
        tab.wait_for("of 3 steps")
        changes = "first => document.querySelector('img[alt^=preview]').src != first"
        tab.page.wait_for_function(changes, arg=tab.preview())
        tab.wait_for("run 2: quick, 3 steps")
    (mask,) = tmp_path.glob("instant-*/images/structure_mask/mask.png")
    (structure,) = tmp_path.glob("instant-*/images/structure/apple.png")
    painted, image = read(mask).pixels, read(structure).pixels
    assert painted.shape == image.shape
    assert 0.01 < painted.mean() < 0.5
    (output,) = tmp_path.glob("instant-*/output.png")
    changed = (read(output).pixels - image).abs().amax(1, keepdim=True) > 0.02
    assert changed[:, :, :25].sum() == 0
    assert changed[painted[:, :1] == 1].float().mean() > 0.5
