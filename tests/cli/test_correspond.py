import json

import pytest
from PIL import Image


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_it_leaves_matches_a_warped_map_and_numbers(vitsplice, png, tmp_path):
    done = vitsplice("correspond", *png, "-o", "out", "--backbone", "tiny-vit", "--grid", 6, "--points", 5)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/matches.png"
    out = tmp_path / "out"
    sizes = {name: size_of(out / f"{name}.png") for name in ("warped", "confidence", "matches")}
    assert sizes["warped"] == sizes["confidence"] == (48, 40)
    assert sizes["matches"][1] == 480
    found = json.loads((out / "matches.json").read_text())
    assert found["backbone"] == "tiny-vit"
    assert {"facet": "key", "layer": -1, "layers": 3} in found["features"]
    assert "matched by tiny-vit: key at layer 0 (-3), key at layer 2 (-1), token at layer 2 (-1)" in done.stderr
    assert 0 < len(found["matches"]) <= 5
    similar = [match["similarity"] for match in found["matches"]]
    assert similar == sorted(similar, reverse=True)
    assert all(0 < match["first"][0] < 48 and 0 < match["second"][1] < 40 for match in found["matches"])


def test_a_image_s_matches_with_itself_do_not_move(vitsplice, png, tmp_path):
    vitsplice("correspond", png[0], png[0], "-o", "out", "--backbone", "tiny-vit", "--grid", 6)
    found = json.loads((tmp_path / "out" / "matches.json").read_text())
    assert found["matches"]
    assert all(match["first"] == match["second"] for match in found["matches"])


def test_a_folder_that_holds_one_is_not_overwritten_without_force(vitsplice, png):
    arguments = ("correspond", *png, "-o", "out", "--backbone", "tiny-vit", "--grid", 6)
    assert vitsplice(*arguments).returncode == 0
    assert "already holds" in vitsplice(*arguments).stderr
    assert vitsplice(*arguments, "--force").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("missing.png", "structure.png"), "missing.png"),
        (("structure.png", "appearance.png", "-o", "structure.png"), "is a file"),
        (("structure.png", "appearance.png", "--balance", "2"), "balance"),
        (("structure.png", "appearance.png", "--temperature", "0", "--backbone", "tiny-vit"), "temperature"),
        (("structure.png", "appearance.png", "--backbone", "tiny-vitt"), "tiny-vit"),
    ],
)
def test_mistakes(vitsplice, png, arguments, told):
    done = vitsplice("correspond", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
