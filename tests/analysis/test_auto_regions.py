import json
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from discs import disc

import vitsplice
from tests.conftest import STAGED_PYRAMID, TINY_NETWORKS
from tests.runs.test_several_appearances import MATCHED, take_steps
from vitsplice.analysis.auto_regions import propose_for_run, propose_regions, write_regions
from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.errors import CheckpointRejected, ConfigError, OutputExists, PathRejected, UserError
from vitsplice.images import encode_png, read
from vitsplice.presets.settings import settings_for
from vitsplice.runs.inputs import Region
from vitsplice.runs.recorder import Recording

pytestmark = pytest.mark.usefixtures("no_sheet")

small_disc = partial(disc, side=64)
STRUCTURE, OTHER = small_disc((32, 32), 19)[0], small_disc((30, 34), 20, seed=1)[0]
GREEN = small_disc((32, 32), 19, (0.5, 0.5, 0.5), ((0.1, 0.8, 0.2), (0.1, 0.6, 0.1)), seed=2)[0]
SMALL = {"backbone": "tiny-cnn", "size": 128}


def write_images(folder):
    """Write a structure image and an appearance image."""
    paths = [folder / name for name in ("s.png", "a.png")]
    for path, image in zip(paths, (STRUCTURE, OTHER), strict=True):
        path.write_bytes(encode_png(image))
    return paths


def named_files(folder):
    return dict(zip(("structure", "appearance"), write_images(folder), strict=True))


@pytest.fixture
def coarse(monkeypatch):
    """Find the parts of a run's images at a quarter of the default size."""
    monkeypatch.setattr("vitsplice.analysis.auto_regions.cosegment", partial(cosegment, size=112))


@pytest.mark.slow
def test_there_is_a_region_for_each_appearance_image_with_label_images_of_common_colours():
    regions = propose_regions(STRUCTURE, [OTHER, GREEN], 2, **SMALL)
    assert [region.appearance for region in regions] == [0, 1]
    assert torch.equal(regions[0].structure_mask, regions[1].structure_mask)
    colours = [set(map(tuple, region.appearance_mask.flatten(1).T.tolist())) for region in regions]
    assert (0, 0, 0) in colours[0] & colours[1]
    assert len(colours[0] | colours[1]) == 3  # the background and two parts


@pytest.mark.slow
def test_background_and_disc_take_the_colours_of_the_background_and_of_the_disc():
    result = vitsplice.splice(
        STRUCTURE, GREEN, "tiny", regions=propose_regions(STRUCTURE, GREEN, 1, **SMALL), **MATCHED
    )
    greenness = result.pixels[1] - result.pixels[[0, 2]].amax(0)
    assert greenness[28:36, 28:36].mean() > 0.2
    assert greenness[:8, :8].abs().mean() < 0.1


@pytest.mark.slow
def test_written_regions_give_the_bytes_of_those_in_memory(tmp_path):
    paths = write_images(tmp_path)
    regions, sheet = write_regions(cosegment(paths, parts=2, **SMALL), tmp_path / "out")
    assert sheet == tmp_path / "out" / "regions" / "cosegment.png"
    proposed = propose_regions(*paths, 2, **SMALL)
    written, in_memory = (
        vitsplice.splice(*paths, "tiny", regions=each, **MATCHED).pixels for each in (regions, proposed)
    )
    assert torch.equal(written, in_memory)


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize(
    ("preset", "overrides", "backbone"),
    [
        ("tiny", ["backbone.name=tiny-cnn", "start=match"], "tiny-cnn"),
        ("tiny", ["start=match"], "tiny-vit"),  # the fallback of the preset
        ("quick", TINY_NETWORKS, "tiny-vit"),  # the first of two
    ],
)
def test_regions_of_a_run_are_proposed_with_the_backbone_that_matches_its_images(tmp_path, preset, overrides, backbone):
    settings = settings_for(preset, overrides=overrides)
    _, notes = propose_for_run(named_files(tmp_path), 2, settings, tmp_path / "out")
    assert notes[-1] == f"regions: {tmp_path / 'out' / 'regions' / 'cosegment.png'}"
    record = json.loads((tmp_path / "out" / "regions" / "cosegment.json").read_text())
    assert record["backbone"] == backbone


@pytest.mark.slow
@pytest.mark.parametrize("appearance_part", [0, 2])
def test_an_appearance_image_without_a_common_part_has_no_region_and_is_noted(tmp_path, monkeypatch, appearance_part):
    def with_common_background_only(*arguments, **options):
        part_1 = torch.arange(4).view(2, 2) // 2
        return replace(cosegment(*arguments, size=112, **options), labels=(part_1, appearance_part * part_1))

    monkeypatch.setattr("vitsplice.analysis.auto_regions.cosegment", with_common_background_only)
    settings = settings_for("tiny", overrides=["start=match"])
    regions, notes = propose_for_run(named_files(tmp_path), 2, settings, tmp_path / "out")
    assert regions == []
    assert f"no region uses {tmp_path / 'a.png'}: it has no part in common with the structure image" in notes[0]


def test_nothing_is_written_for_settings_that_do_not_use_regions(tmp_path):
    with pytest.raises(ConfigError, match="regions would have no effect"):
        propose_for_run(named_files(tmp_path), 2, settings_for("tiny"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "options", "problem"),
    [
        ({"structure_mask": "small.png"}, {}, "structure mask small.png is 20x20 px"),
        ({"appearance_mask": "none.png"}, {}, "none.png"),
        ({}, {"weights": [1.0, 2.0]}, "1 appearance images require as many weights"),
        ({}, {"regions": [Region("mask.png", "dog")]}, "there is no appearance image 'dog'"),
        ({"structure": "out/output.png"}, {}, "out/output.png is an output file in "),
        ({}, {"regions": [Region("out/regions/mask.png", 0)]}, "out/regions/mask.png is in out/regions"),
    ],
)
def test_a_refused_run_leaves_earlier_regions_unchanged(tmp_path, monkeypatch, change, options, problem):
    monkeypatch.chdir(tmp_path)
    images = named_files(tmp_path)
    earlier = tmp_path / "out" / "regions" / "mask.png"
    earlier.parent.mkdir(parents=True)
    size = read(images["structure"]).pixels.shape[-2:]
    for path, shape in ((earlier, size), (tmp_path / "mask.png", size), (tmp_path / "small.png", (20, 20))):
        path.write_bytes(encode_png(torch.ones(1, 3, *shape)))
    (tmp_path / "out" / "output.png").write_bytes(earlier.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    settings = settings_for("tiny", overrides=["start=match"])
    with pytest.raises(UserError, match=re.escape(problem)):
        propose_for_run(images | change, 2, settings, "out", force=True, **options)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
def test_a_term_that_requests_the_correspondence_uses_regions(tmp_path):
    texture = "terms.texture={loss: texture, weight: 1}"
    settings = settings_for("tiny", backbone="tiny-vit", overrides=[texture])
    regions, _ = propose_for_run(named_files(tmp_path), 2, settings, tmp_path / "out")
    assert [region.appearance for region in regions] == [0]


@pytest.mark.slow
def test_a_stopped_run_with_written_regions_resumes_unless_one_is_edited(tmp_path):
    images = named_files(tmp_path)
    result = cosegment(list(images.values()), parts=2, **SMALL)
    settings = settings_for("tiny", overrides=["steps=4", *STAGED_PYRAMID])

    def begun(name):
        regions, _ = write_regions(result, tmp_path / name)
        return Recording.begin(images, settings, tmp_path / name, regions=regions)

    whole = take_steps(begun("whole"))
    take_steps(begun("parts"), until=2)
    mask = tmp_path / "parts" / "regions" / "2-a_parts.png"
    before = mask.read_bytes()
    mask.write_bytes(encode_png(torch.rand(3, 64, 64)))
    with pytest.raises(CheckpointRejected, match="appearance mask of region 1"):
        Recording.resume(tmp_path / "parts")
    mask.write_bytes(before)
    assert take_steps(Recording.resume(tmp_path / "parts")) == whole


def test_the_folder_of_a_run_is_refused_without_force(tmp_path, victim):
    result = cosegment([STRUCTURE, OTHER], parts=1, **SMALL)
    with pytest.raises(OutputExists, match="already holds"):
        write_regions(result, victim)
    assert not (victim / "regions").exists()


def test_regions_in_a_folder_that_is_a_link_out_of_that_of_the_run_are_refused(tmp_path, victim):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "regions").symlink_to(victim)
    with pytest.raises(PathRejected, match="leads out of"):
        write_regions(cosegment([STRUCTURE, OTHER], parts=1, **SMALL), tmp_path / "out")
    with pytest.raises(PathRejected, match="leads out of"):
        propose_for_run(named_files(tmp_path), 1, settings_for("tiny", overrides=["start=match"]), tmp_path / "out")
