import json
import shutil

import pytest
import torch
from PIL import Image
from tiny_models import write_tiny_model

from vitsplice import Region, load_model
from vitsplice.batch.transfer_record import read_record
from vitsplice.datasets import Pair, write
from vitsplice.evaluation.leakage import read_optimised
from vitsplice.images import encode_png, read
from vitsplice.support import output_folder

from ..conftest import noise


@pytest.fixture(scope="module")
def written_model(tmp_path_factory):
    """Folder and record of a model, which tests leave unchanged."""
    folder = tmp_path_factory.mktemp("written") / "model"
    return folder, write_tiny_model(folder)


@pytest.fixture
def model(written_model, tmp_path):
    """Record of a model; its folder is `model` in tmp_path."""
    folder, record = written_model
    shutil.copytree(folder, tmp_path / "model")
    return record


@pytest.fixture
def photos(tmp_path):
    """A folder of three structure images of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, width in enumerate((48, 40, 33)):
        (folder / f"{number}.png").write_bytes(encode_png(noise(3, 40, width, seed=number)))
    return folder


@pytest.mark.slow
def test_one_image_is_written_to_a_file(vitsplice, png, tmp_path, model):
    done = vitsplice("apply", "model", *png, "-o", "out.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out.png"
    assert (tmp_path / "out.png").read_bytes() == encode_png(load_model(tmp_path / "model")(*png)[0])
    assert not (tmp_path / "apply.jsonl").exists()


@pytest.mark.slow
def test_outputs_for_a_folder_and_a_file_are_written_with_a_record(vitsplice, png, photos, tmp_path, model):
    done = vitsplice("apply", "model", photos, png[0], png[1], "-o", "out")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "0.png",
        "1.png",
        "2.png",
        "structure.png",
        "apply.jsonl",
    }
    with Image.open(tmp_path / "out" / "2.png") as image:
        assert image.size == (33, 40)
    record = read_record(tmp_path / "out")
    assert {entry["model"]["sha256"] for entry in record.values()} == {model.digest}
    assert record["0.png"]["images"]["structure"] == read(photos / "0.png").sha256
    assert "4 of 4 outputs written" in done.stderr


@pytest.mark.slow
def test_outputs_of_the_same_images_are_skipped_and_those_of_others_are_refused(
    vitsplice, png, photos, tmp_path, model
):
    assert vitsplice("apply", "model", photos / "0.png", png[1], "-o", "out").returncode == 0
    before = (tmp_path / "out" / "0.png").stat().st_mtime_ns
    done = vitsplice("apply", "model", photos, png[1], "-o", "out")
    assert done.returncode == 0
    assert "2 of 3 outputs written, 1 existed already" in done.stderr
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns == before
    refused = vitsplice("apply", "model", photos, png[0], "-o", "out")
    assert refused.returncode == 2
    assert "0.png and 2 more exist already; choose another output, or replace them with --force" in refused.stderr
    assert vitsplice("apply", "model", photos, png[0], "-o", "out", "--force").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("second_written", [False, True])
def test_after_a_kill_only_outputs_that_were_written_are_skipped(
    vitsplice, png, photos, tmp_path, model, monkeypatch, second_written
):
    """SystemExit before or after a file is written leaves what a kill would leave, except for the lock file."""
    write_file = output_folder.write_file

    def die_at_the_second_output(file, data):
        if file.name != "1.png" or second_written:
            write_file(file, data)
        if file.name == "1.png":
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("vitsplice.batch.transfers.output_folder.write_file", die_at_the_second_output)
        vitsplice("apply", "model", photos, png[1], "-o", "out")
    done = vitsplice("apply", "model", photos, png[1], "-o", "out")
    written, existed = (1, 2) if second_written else (2, 1)
    assert f"{written} of 3 outputs written, {existed} existed already" in done.stderr


def test_an_existing_file_is_refused_before_the_model_is_loaded(vitsplice, png, tmp_path, model):
    (tmp_path / "out.png").write_bytes(b"mine")
    (tmp_path / "model" / "model.safetensors").unlink()
    done = vitsplice("apply", "model", *png, "-o", "out.png")
    assert "out.png exists already" in done.stderr
    assert (tmp_path / "out.png").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_manifest_gives_an_output_for_each_id_inside_its_mask(vitsplice, png, tmp_path, model):
    mask = torch.ones(3, 40, 48)
    mask[..., :20] = 0
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    write(tmp_path / "pairs.csv", [Pair("a", *png), Pair("b", png[1], png[0]), Pair("c", *png, tmp_path / "mask.png")])
    done = vitsplice("apply", "model", "--manifest", "pairs.csv", "-o", "out")
    assert done.returncode == 0, done.stderr
    outputs = {name: read(tmp_path / "out" / f"{name}.png").pixels for name in "abc"}
    structure = read(png[0]).pixels
    assert outputs["c"][..., :20].equal(structure[..., :20])
    assert not outputs["c"][..., 20:].equal(structure[..., 20:])
    assert not outputs["a"][..., :20].equal(structure[..., :20])
    assert len(read_record(tmp_path / "out")) == 3


@pytest.mark.slow
def test_a_mix_depends_on_each_image_by_its_relative_weight(vitsplice, png, photos, tmp_path, model):
    others = [photos / "0.png", photos / "1.png"]
    done = vitsplice("apply", "model", png[0], "--mix", f"{others[0]}:0.3", f"{others[1]}:0.7", "-o", "mix.png")
    assert done.returncode == 0, done.stderr
    tenfold = ("--mix", f"{others[0]}:3", "--mix", f"{others[1]}:7")
    assert vitsplice("apply", "model", png[0], *tenfold, "-o", "tenfold.png").returncode == 0
    without_second = ("--mix", f"{others[0]}:1", f"{others[1]}:0")
    assert vitsplice("apply", "model", png[0], *without_second, "-o", "without-second.png").returncode == 0
    vitsplice("apply", "model", png[0], others[0], "-o", "first.png")
    vitsplice("apply", "model", png[0], others[1], "-o", "second.png")
    names = ("mix", "tenfold", "without-second", "first", "second")
    mix, with_tenfold, with_zero, first, second = (read(tmp_path / f"{name}.png").pixels for name in names)
    assert mix.equal(with_tenfold)
    assert with_zero.equal(first)
    assert not mix.equal(first)
    assert not mix.equal(second)


@pytest.mark.slow
def test_a_manifest_row_with_several_appearance_images_is_a_mix(vitsplice, png, photos, tmp_path, model):
    others = ((photos / "1.png", None),)
    write(tmp_path / "pairs.csv", [Pair("mix", png[0], photos / "0.png", others=others, weights=(0.3, 0.7))])
    assert vitsplice("apply", "model", "--manifest", "pairs.csv", "-o", "out").returncode == 0
    parts = (f"{photos / '0.png'}:0.3", f"{photos / '1.png'}:0.7")
    assert vitsplice("apply", "model", png[0], "--mix", *parts, "-o", "mix.png").returncode == 0
    assert (tmp_path / "out" / "mix.png").read_bytes() == (tmp_path / "mix.png").read_bytes()
    write(tmp_path / "pairs.csv", [Pair("p", *png, regions=(Region(png[0], 0),))])
    assert "pair p has regions" in vitsplice("apply", "model", "--manifest", "pairs.csv", "-o", "regions").stderr


@pytest.mark.slow
def test_an_unreadable_image_is_named_and_the_others_are_written(vitsplice, png, photos, tmp_path, model):
    (photos / "1.png").write_bytes(b"broken")
    done = vitsplice("apply", "model", photos, png[1], "-o", "out")
    assert done.returncode == 1
    assert "not written: 1.png: " in done.stderr
    assert "2 of 3 outputs written" in done.stderr
    assert vitsplice("apply", "model", photos / "1.png", png[1], "-o", "one.png").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("structure.png",), "at least one structure image and an appearance image"),
        (("structure.png", "appearance.png", "--manifest", "pairs.csv"), "either images or --manifest"),
        (("missing.png", "appearance.png"), "missing.png does not exist"),
        (("structure.png", "appearance.png", "-o", "out.jpg"), "outputs are PNG files; give out.png"),
        (("structure.png", "photos", "-o", "x.png"), "'photos' is a folder, not an image"),
        (("photos", "appearance.png", "-o", "out.png"), "3 outputs need a folder, not the file out.png"),
        (("photos", "appearance.png", "-o", "photos"), "output folder photos is a folder of the images"),
        (("photos/0.png", "others/0.png", "appearance.png"), "would have the same output 0.png"),
        (("structure.png", "--mix", "appearance.png:much"), "weight 'much' of appearance.png is not a number"),
        (("--mix", "appearance.png:1"), "at least one structure image before --mix"),
        (("structure.png", "--mix", "appearance.png:0"), "weights of a mix"),
        (
            ("structure.png", "--mix", "appearance.png:0.3", "photos/1.png"),
            "the mix has one image; photos/1.png, without :WEIGHT, is a structure image; give each image of the mix as",
        ),
        (("structure.png", "appearance.png", "-o", "appearance.png/x"), "cannot create the folder appearance.png/x"),
    ],
)
def test_invalid_arguments_exit_with_2_and_a_reason(vitsplice, png, photos, model, arguments, message, tmp_path):
    shutil.copytree(photos, tmp_path / "others")
    done = vitsplice("apply", "model", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_folder_that_is_no_model_is_refused_by_name(vitsplice, png, photos):
    done = vitsplice("apply", "photos", *png)
    assert done.returncode == 2
    assert "photos is not the folder of a model: it has no model.yaml" in done.stderr


def test_terms_and_networks_of_a_model_are_read_from_the_record_of_an_unchanged_output(vitsplice, png, tmp_path, model):
    write(tmp_path / "pairs.csv", [Pair("a", *png)])
    vitsplice("apply", "model", "--manifest", "pairs.csv", "-o", "out")
    optimised = read_optimised(tmp_path / "out" / "a.png")
    assert optimised.terms == ("appearance", "structure")
    assert [network.name for network in optimised.networks] == ["tiny-vit"]
    shutil.copy(png[0], tmp_path / "out" / "a.png")
    assert read_optimised(tmp_path / "out" / "a.png") is None


@pytest.mark.slow
def test_training_images_are_noted(vitsplice, png, tmp_path):
    for number, images in enumerate(([png[1]], png), 1):
        write_tiny_model(tmp_path / f"model-{number}", images=[read(path).sha256 for path in images])
        done = vitsplice("apply", f"model-{number}", *png, "-o", f"out-{number}")
        assert f"the model was trained on {number} of these images, such as appearance.png" in done.stderr


@pytest.mark.slow
def test_a_model_folder_is_a_preset_of_run_and_batch(vitsplice, png, tmp_path, model):
    vitsplice("apply", "model", *png, "-o", "out.png")
    done = vitsplice("run", *png, "--preset", "model", "-o", "run", "--set", "metrics=none", "--set", "plots=none")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "output.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["sha256"] == model.digest
    write(tmp_path / "pairs.csv", [Pair("a", *png)])
    done = vitsplice(
        "batch", "pairs.csv", "-o", "batch", "--preset", "model", "--executor", "tiny-in-turn", "--threads", "1",
        "--set", "metrics=none", "--set", "plots=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (output,) = (tmp_path / "batch" / "model").rglob("output.png")
    assert output.read_bytes() == (tmp_path / "out.png").read_bytes()
    assert read_optimised(output).terms == ("appearance", "structure")


@pytest.mark.slow
def test_an_image_that_is_given_twice_has_one_output(vitsplice, png, photos, tmp_path, model):
    assert vitsplice("apply", "model", photos, photos / "1.png", png[1], "-o", "out").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["0.png", "1.png", "2.png"]
