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


def test_writes_masks_overlays_data_and_sheet(vitsplice, discs, tmp_path):
    done = vitsplice("cosegment", *discs, "-o", "out", *SMALL, "--clusters", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/cosegment.png"
    data = json.loads((tmp_path / "out" / "cosegment.json").read_text())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cosegment.png", "cosegment.json", *data["files"]}
    assert data["clusters"] == 3


def test_existing_results_are_refused_without_force(vitsplice, discs):
    command = ("cosegment", discs[0], *SMALL, "-o", "x")
    assert vitsplice(*command).returncode == 0
    assert "already holds a co-segmentation" in vitsplice(*command).stderr
    assert vitsplice(*command, "--force").returncode == 0


def test_parts_beyond_the_number_of_colours_are_refused(vitsplice, discs):
    assert vitsplice("cosegment", *discs, "--parts", "21").returncode == 2
