import json
import shlex
from functools import partial

import pytest
import torch
from PIL import Image

from vitsplice.errors import VitspliceError
from vitsplice.images import encode_png, read
from vitsplice.luts import Lut, fit_lut, read_cube, write_cube
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording

TINY = ("run", "--preset", "tiny")


@pytest.fixture
def darker(tmp_path):
    """A LUT that halves all values."""
    return write_cube(Lut(Lut.identity(3).values / 2), tmp_path / "darker.cube")


@pytest.mark.slow
def test_run_writes_the_lut_of_its_colours_and_records_the_error(vitsplice, png, tmp_path):
    done = vitsplice(*TINY, *png, "-o", "out", "--lut", "new/colours.cube")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())["lut"]
    assert f"delta E mean {record['delta_e']['mean']:.2f}" in done.stderr
    assert record["delta_e"]["mean"] <= record["delta_e_unchanged"]["mean"]
    assert "LUT_3D_SIZE 33\n" in (tmp_path / "new" / "colours.cube").read_text()


def test_mask_to_which_no_lut_can_be_fitted_is_refused_before_the_run(vitsplice, png, tmp_path):
    Image.new("L", (48, 40), 90).save(tmp_path / "grey.png")
    done = vitsplice(*TINY, *png, "--structure-mask", "grey.png", "-o", "out", "--lut", "new.cube")
    assert (done.returncode, "excludes every pixel" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def white_spot(tmp_path):
    """A mask of one white pixel, which is grey at 16 px; as large as the structure image."""
    mask = Image.new("L", (48, 40))
    mask.putpixel((20, 20), 255)
    mask.save(tmp_path / "spot.png")
    return tmp_path / "spot.png"


def test_mask_that_is_white_only_before_it_is_resized_is_refused_before_an_earlier_run_is_replaced(
    vitsplice, png, white_spot, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    mask = ("--structure-mask", white_spot, "--size", "16", "--lut", "new.cube")
    done = vitsplice(*TINY, *png, *mask, "-o", "out", "--force")
    assert (done.returncode, "at the size of the output, 19x16 px" in done.stderr) == (2, True), done.stderr
    assert "or leave out --lut" in done.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["run.json"]


@pytest.mark.slow
def test_resume_refuses_a_mask_to_which_no_lut_can_be_fitted_before_the_first_step(
    vitsplice, png, white_spot, tmp_path
):
    images = dict(zip(("structure", "appearance"), png, strict=True)) | {"structure_mask": white_spot}
    Recording.begin(images, settings_for("tiny", size=16), tmp_path / "out").close()
    done = vitsplice("run", "--resume", "out", "--lut", "new.cube")
    assert (done.returncode, "excludes every pixel" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out" / "output.png").exists()


@pytest.mark.slow
def test_finished_run_whose_lut_fails_is_not_to_be_resumed(vitsplice, png, monkeypatch):
    def fail(*arguments):
        raise VitspliceError("no LUT")

    monkeypatch.setattr("vitsplice.runs.lut.fit_lut", fail)
    done = vitsplice(*TINY, *png, "-o", "out", "--lut", "new.cube")
    assert (done.returncode, "error: no LUT" in done.stderr) == (1, True), done.stderr
    assert "out/output.png" in done.stdout
    assert not any(words in done.stderr for words in ("resume with", "stopped after"))


@pytest.fixture
def small_lut(monkeypatch):
    monkeypatch.setattr("vitsplice.runs.lut.fit_lut", partial(fit_lut, size=9))


@pytest.mark.slow
@pytest.mark.usefixtures("small_lut")
def test_resumed_run_writes_the_lut_of_an_undisturbed_run(vitsplice, png, tmp_path):
    settings = settings_for("tiny", steps=4)
    with Recording.begin(dict(zip(("structure", "appearance"), png, strict=True)), settings, tmp_path / "out") as begun:
        next(begun.steps(lambda note: None))
        begun.write_checkpoint(lambda note: None)
    (tmp_path / "resumed.cube").touch()
    resumed = vitsplice("run", "--resume", "out", "--lut", "resumed.cube", "--force")
    assert resumed.returncode == 0, resumed.stderr
    assert "LUT: resumed.cube" in resumed.stderr
    assert vitsplice(*TINY, *png, "--steps", "4", "-o", "whole", "--lut", "whole.cube").returncode == 0
    resumed_lut, whole = (read_cube(tmp_path / f"{name}.cube").values for name in ("resumed", "whole"))
    assert torch.equal(resumed_lut, whole)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["lut"]["path"] == "resumed.cube"


@pytest.mark.slow
def test_finished_run_that_is_resumed_names_the_command_that_fits_a_lut(vitsplice, png, tmp_path):
    assert vitsplice(*TINY, *png, "-o", "out").returncode == 0
    done = vitsplice("run", "--resume", "out", "--lut", "x.cube")
    assert done.returncode == 0
    assert "vitsplice lut fit STRUCTURE out/output.png -o x.cube; " in done.stderr
    assert not (tmp_path / "x.cube").exists()
    by_checkpoint = vitsplice("run", "--resume", "out/checkpoint/step-000001.json", "--lut", "x.cube")
    assert f"STRUCTURE {shlex.quote(str(tmp_path / 'out' / 'output.png'))} -o x.cube; " in by_checkpoint.stderr


@pytest.mark.slow
def test_resume_refuses_an_existing_lut(vitsplice, png, darker, tmp_path):
    assert vitsplice(*TINY, *png, "-o", "out").returncode == 0
    assert "darker.cube already exists" in vitsplice("run", "--resume", "out", "--lut", darker).stderr


def test_fit_of_an_image_to_itself_is_the_identity(vitsplice, png, tmp_path):
    done = vitsplice("lut", "fit", png[0], png[0], "-o", "same.cube", "--size", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "same.cube"
    torch.testing.assert_close(read_cube(tmp_path / "same.cube").values, Lut.identity(5).values)


def test_fitted_lut_maps_the_first_image_to_the_second(vitsplice, png, tmp_path):
    source = read(png[0]).pixels
    target = source.roll(1, dims=1)  # the channels in another order
    (tmp_path / "target.png").write_bytes(encode_png(target))
    done = vitsplice("lut", "fit", png[0], "target.png", "-o", "reorder.cube", "--size", "5")
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(read_cube(tmp_path / "reorder.cube").apply(source), target, atol=0.1, rtol=0)
    assert f"{png[0]} with the LUT, compared with target.png: delta E mean" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("small_lut")
def test_run_with_a_size_fits_a_lut_although_structure_image_and_output_differ_in_size(vitsplice, png, tmp_path):
    assert vitsplice(*TINY, *png, "-o", "out", "--size", "24", "--lut", "x.cube").returncode == 0
    assert read_cube(tmp_path / "x.cube").size == 9  # that of `small_lut`


@pytest.mark.parametrize("colour", ["cyan", "magenta"])
def test_fit_reads_a_mask_in_colour_by_its_mean(vitsplice, png, tmp_path, colour):
    """Both colours have a mean above 0.5; the red channel of cyan, and the luminance of magenta, are below it."""
    Image.new("RGB", (48, 40), colour).save(tmp_path / "mask.png")
    done = vitsplice("lut", "fit", png[0], png[0], "-o", "same.cube", "--size", "5", "--mask", "mask.png")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [(*TINY, "-o", "out", "--lut"), ("lut", "fit", "-o")], ids=["run", "fit"])
def test_a_lut_is_refused_unless_its_name_ends_in_cube(vitsplice, png, tmp_path, command):
    done = vitsplice(*command, "new/colours.txt", *png)
    assert (done.returncode, done.stderr) == (2, "error: LUTs are .cube files; give new/colours.cube\n")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "out").exists()


def test_run_refuses_an_existing_lut_without_force_and_writes_nothing(vitsplice, png, darker, tmp_path):
    done = vitsplice(*TINY, *png, "-o", "out", "--lut", darker)
    assert done.returncode == 2
    assert "darker.cube already exists" in done.stderr
    assert not (tmp_path / "out").exists()


def test_apply_writes_the_outputs_of_images_and_folders(vitsplice, png, darker, tmp_path):
    done = vitsplice("lut", "apply", darker, *png, "-o", "graded")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "graded"
    for path in png:
        graded = read(tmp_path / "graded" / path.name).pixels
        torch.testing.assert_close(graded, read(path).pixels / 2, atol=0.51 / 255, rtol=0)
    assert vitsplice("lut", "apply", darker, png[0], "-o", "graded").returncode == 2
    assert vitsplice("lut", "apply", darker, "graded", "-o", "again").returncode == 0


def test_apply_notes_that_transparency_is_lost(vitsplice, darker, tmp_path):
    Image.new("RGBA", (32, 32), (200, 100, 50, 128)).save(tmp_path / "clear.png")
    done = vitsplice("lut", "apply", darker, "clear.png", "-o", "graded")
    assert (done.returncode, "clear.png: alpha composited on white" in done.stderr) == (0, True)


def test_fit_notes_that_transparency_is_lost(vitsplice, png, tmp_path):
    Image.new("RGBA", (48, 40), (200, 100, 50, 128)).save(tmp_path / "clear.png")
    done = vitsplice("lut", "fit", "clear.png", png[0], "--mask", "clear.png", "-o", "x.cube", "--size", "3")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: clear.png: alpha composited on white") == 2  # as an image and as the mask


@pytest.mark.parametrize("out", [".", "0.png"])
def test_apply_never_replaces_an_image_that_it_reads(vitsplice, png, darker, tmp_path, out):
    (tmp_path / "0.png").write_bytes(before := png[0].read_bytes())
    done = vitsplice("lut", "apply", darker, "0.png", "-o", out, "--force")
    assert (done.returncode, "0.png is an output file in" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "0.png").read_bytes() == before


def test_apply_refuses_to_write_into_a_folder_of_its_images(vitsplice, darker, png, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(png[0].read_bytes())
    done = vitsplice("lut", "apply", darker, "photos", "-o", "photos/out.png")
    assert (done.returncode, "output folder photos is a folder of the images" in done.stderr) == (2, True), done.stderr


def test_apply_reports_an_unreadable_image_and_writes_the_others(vitsplice, png, darker, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = vitsplice("lut", "apply", darker, "broken.png", png[0], "-o", "graded")
    assert done.returncode == 1
    assert "broken.png" in done.stderr
    assert "1 of 2 outputs written" in done.stderr
    assert len(list((tmp_path / "graded").iterdir())) == 1


def test_apply_refuses_an_invalid_lut_in_one_line(vitsplice, png, tmp_path):
    (tmp_path / "x.cube").write_text("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n")
    done = vitsplice("lut", "apply", "x.cube", png[0])
    assert done.returncode == 2
    assert "a 1D LUT" in done.stderr
    assert "Traceback" not in done.stderr
