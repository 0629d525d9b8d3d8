import json

import pytest
from PIL import Image

SMALL = ("--backbone", "tiny-vit", "--size", "64")


@pytest.mark.slow
def test_writes_sheet_maps_and_data_of_all_layers_and_images(vitsplice, png, tmp_path):
    done = vitsplice("pca", *png, "-o", "out", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/pca.png"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"pca.png", "pca.json"} | {
        f"{number}-{stem}_layer_{layer}.png"
        for number, stem in ((1, "structure"), (2, "appearance"))
        for layer in (0, 1, 2)
    }
    with Image.open(tmp_path / "out" / "1-structure_layer_2.png") as image:
        assert image.size == (48, 40)
    data = json.loads((tmp_path / "out" / "pca.json").read_text())
    assert data["facet"] == "key"
    assert all(0 < sum(parts) <= 1.0001 for parts in data["explained_variance"].values())


@pytest.mark.slow
def test_output_is_deterministic_and_depends_on_the_facet(vitsplice, png, tmp_path):
    for name, facet in (("a", "key"), ("b", "key"), ("c", "token")):
        vitsplice("pca", png[0], "-o", name, *SMALL, "--layer", "-1", "--facet", facet)
    first, second, other = ((tmp_path / name / "pca.png").read_bytes() for name in "abc")
    assert first == second != other


def test_writes_maps_of_a_cnn(vitsplice, png):
    options = ("--backbone", "tiny-cnn", "--upsampling", "blocks", "--decompose", "features", "--size", "64")
    assert vitsplice("pca", png[0], *options).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--facet", "cls"),
            "facet 'cls' is global and has no patches; local facets of tiny-vit: key, query, value, token",
        ),
        (("--facet", "cls", "--backbone", "tiny-cnn"), "no facet 'cls'; it has"),
        (("--facet", "map"), "no facet 'map'"),
        (("--layer", "9"), "no layer 9"),
        (("-o", "structure.png"), "is a file"),
    ],
)
def test_invalid_arguments_are_reported(vitsplice, png, arguments, message):
    done = vitsplice("pca", "structure.png", *SMALL, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_existing_results_are_refused_without_force(vitsplice, png):
    command = ("pca", png[0], *SMALL, "--layer", "-1", "-o", "x")
    assert vitsplice(*command).returncode == 0
    assert "already holds a PCA" in vitsplice(*command).stderr
    assert vitsplice(*command, "--force").returncode == 0


def test_an_input_that_would_be_replaced_is_refused(vitsplice, png, tmp_path):
    (tmp_path / "out").mkdir()
    image = png[0].rename(tmp_path / "out" / "pca.png")
    done = vitsplice("pca", image, "-o", "out", *SMALL, "--force")
    assert done.returncode == 2
    assert f"pca.png is an output file in {tmp_path / 'out'} and would be replaced" in done.stderr


def test_advice_to_set_a_setting_says_that_this_command_has_no_such_option(vitsplice, png, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    done = vitsplice("pca", png[0], "--backbone", "dino-vits16")
    assert "--set backbone.weights=FILE (not an option of this command)" in done.stderr
