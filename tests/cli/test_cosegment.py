import json

import pytest
from discs import disc

from vitsplice.images import encode_png

SMALL = ("--backbone", "tiny-cnn", "--size", "128", "--parts", "2")


@pytest.fixture
def discs(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(encode_png(disc(seed=number)[0]))
    return "1.png", "2.png"


@pytest.mark.slow
def test_writes_masks_overlays_data_and_sheet(vitsplice, discs, tmp_path):
    done = vitsplice("cosegment", *discs, "-o", "out", *SMALL, "--clusters", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/cosegment.png"
    data = json.loads((tmp_path / "out" / "cosegment.json").read_text())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    images = {f"{stem}_{kind}.png" for stem in ("1-1", "2-2") for kind in ("foreground", "parts", "overlay")}
    assert names == {"cosegment.png", "cosegment.json", *images}
    assert set(data["files"]) == images
    assert data["clusters"] == 3


@pytest.mark.slow
def test_existing_results_are_refused_without_force(vitsplice, discs):
    command = ("cosegment", discs[0], *SMALL, "-o", "x")
    assert vitsplice(*command).returncode == 0
    assert "already holds a co-segmentation" in vitsplice(*command).stderr
    assert vitsplice(*command, "--force").returncode == 0


@pytest.mark.parametrize("name", ["cosegment.png", "2-2_overlay.png"])
def test_an_input_with_the_name_of_an_output_in_the_folder_is_refused(vitsplice, discs, tmp_path, name):
    (tmp_path / "out").mkdir()
    image = (tmp_path / discs[0]).rename(tmp_path / "out" / name)
    content = image.read_bytes()
    done = vitsplice("cosegment", image, discs[1], "-o", "out", *SMALL, "--force")
    assert done.returncode == 2
    assert f"{name} is an output file in {tmp_path / 'out'} and would be replaced" in done.stderr
    assert image.read_bytes() == content


def test_more_parts_than_colours_are_refused(vitsplice, discs):
    done = vitsplice("cosegment", *discs, "--parts", "21")
    assert (done.returncode, "21 is not allowed: must be less than or equal to 20" in done.stderr) == (2, True)
