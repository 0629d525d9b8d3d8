import json
import shutil

import pytest
from PIL import Image

SMALL = ("-o", "out", "--backbone", "tiny-vit", "--grid", 6)


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.slow
def test_output_folder_has_drawing_maps_and_data(vitsplice, png, tmp_path):
    done = vitsplice("correspond", *png, *SMALL, "--points", 5)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/matches.png"
    out = tmp_path / "out"
    sizes = {name: size_of(out / f"{name}.png") for name in ("warped", "confidence", "matches")}
    assert sizes["warped"] == sizes["confidence"] == (48, 40)
    assert sizes["matches"][1] == 480  # whatever the heights of the images are
    assert "<title>Matches of structure.png and appearance.png</title>" in (out / "matches.html").read_text()
    data = json.loads((out / "matches.json").read_text())
    assert data["backbone"] == "tiny-vit"
    assert data["features"] == [
        {"facet": "key", "layer": -3, "layers": 3}, {"facet": "key", "layer": -1, "layers": 3},
        {"facet": "token", "layer": -1, "layers": 3}, {"facet": "value", "layer": -3, "layers": 3},
    ]  # fmt: skip
    assert "matched by tiny-vit: key at layer 0 (-3), key at layer 2 (-1), token at layer 2 (-1)" in done.stderr
    assert 0 < len(data["matches"]) == data["mutual"]  # all mutual matches: --points limits only the drawing
    similarities = [match["similarity"] for match in data["matches"]]
    assert similarities == sorted(similarities, reverse=True)
    assert all(0 < match["first"][0] < 48 and 0 < match["second"][1] < 40 for match in data["matches"])


@pytest.mark.slow
def test_one_facet_of_one_layer_is_matched(vitsplice, png, tmp_path):
    done = vitsplice("correspond", *png, *SMALL, "--facet", "query", "--layer", 1)
    assert "matched by tiny-vit: query at layer 1 (-2)\n" in done.stderr
    data = json.loads((tmp_path / "out" / "matches.json").read_text())
    assert data["features"] == [{"facet": "query", "layer": -2, "layers": 3}]


@pytest.mark.slow
def test_matches_of_an_image_with_itself_are_at_equal_points(vitsplice, png, tmp_path):
    vitsplice("correspond", png[0], png[0], *SMALL)
    data = json.loads((tmp_path / "out" / "matches.json").read_text())
    assert data["matches"]
    assert all(match["first"] == match["second"] for match in data["matches"])


@pytest.mark.slow
def test_existing_results_are_refused_without_force(vitsplice, png):
    command = ("correspond", *png, *SMALL)
    assert vitsplice(*command).returncode == 0
    assert "already holds" in vitsplice(*command).stderr
    assert vitsplice(*command, "--force").returncode == 0


def test_an_input_that_would_be_replaced_is_refused_also_with_force(vitsplice, png, tmp_path):
    (tmp_path / "out").mkdir()
    image = tmp_path / "out" / "warped.png"
    shutil.copy(png[0], image)
    (tmp_path / "link.png").symlink_to(image)
    for name in ("out/warped.png", "link.png"):
        done = vitsplice("correspond", png[0], name, *SMALL, "--force")
        assert done.returncode == 2
        assert f"{name} is an output file in {tmp_path / 'out'}" in done.stderr
    assert image.read_bytes() == png[0].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.png", "structure.png"), "missing.png"),
        (("structure.png", "appearance.png", "-o", "structure.png"), "is a file"),
        (("structure.png", "appearance.png", "--balance", "2"), "balance"),
        (("structure.png", "appearance.png", "--temperature", "0", "--backbone", "tiny-vit"), "temperature"),
        (("structure.png", "appearance.png", "--temperature", "1e39"), "must be less than"),
        (("structure.png", "appearance.png", "--backbone", "tiny-vitt"), "tiny-vit"),
        (("structure.png", "appearance.png", "--backbone", "tiny-vit", "--facet", "cls"), "'cls' is global"),
        (("structure.png", "appearance.png", "--backbone", "tiny-vit", "--layer", 3), "has no layer 3; it has 0 to 2"),
    ],
)
def test_invalid_arguments_are_reported(vitsplice, png, arguments, message):
    done = vitsplice("correspond", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
