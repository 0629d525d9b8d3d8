import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitsplice
from tests.conftest import STAGED_PYRAMID, smooth_pair
from tests.runs.test_several_appearances import MATCHED, take_steps
from vitsplice import Region
from vitsplice.errors import CheckpointRejected, ConfigError, UserError
from vitsplice.images import encode_png, read
from vitsplice.presets.changes import Changes
from vitsplice.presets.settings import settings_for
from vitsplice.runs import regions
from vitsplice.runs.inputs import parse_region, region_masks, region_text, regions_from
from vitsplice.runs.recorder import Recording
from vitsplice.runs.repeat import command_line, python_code
from vitsplice.runs.run_inputs import RunInputs

STRUCTURE, APPEARANCE = smooth_pair()
RED, BLUE = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
LEFT = torch.zeros(1, 40, 48)
LEFT[..., :24] = 1


def flat(colour):
    return colour.view(3, 1, 1).expand(3, 40, 48).contiguous()


def match(regions, *appearances):
    """Run without steps: the output is the warm start."""
    appearances = appearances or (flat(RED), flat(BLUE))
    return vitsplice.splice(STRUCTURE, list(appearances), "tiny", regions=regions, **MATCHED)


def test_each_region_takes_the_colours_of_its_image():
    pixels = match([Region(LEFT, 0), Region(1 - LEFT, 1)]).pixels
    assert (pixels[0] - pixels[2])[:, :16].mean() > 0.2
    assert (pixels[2] - pixels[0])[:, 32:].mean() > 0.2


def test_regions_of_a_single_image_use_parts_of_it():
    both = torch.where(LEFT > 0, flat(RED), flat(BLUE))
    pixels = match([Region(LEFT, 0, 1 - LEFT), Region(1 - LEFT, 0, LEFT)], both).pixels
    assert (pixels[2] - pixels[0])[:, :16].mean() > 0.2
    assert (pixels[0] - pixels[2])[:, 32:].mean() > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("covered", [True, False])
def test_pixels_that_no_region_uses_have_no_effect_only_if_regions_cover_the_structure_image(covered):
    parts = torch.where(LEFT > 0, flat(RED), APPEARANCE[0]), torch.where(LEFT > 0, flat(BLUE), APPEARANCE[0])
    regions = [Region(LEFT, 0, 1 - LEFT), *([Region(1 - LEFT, 0, 1 - LEFT)] if covered else [])]
    settings = ["steps=3", "size=40", *STAGED_PYRAMID]  # size=40: no resizing, which mixes pixels across the border
    red, blue = (
        vitsplice.splice(STRUCTURE, pixels, "tiny", regions=regions, overrides=settings).pixels for pixels in parts
    )
    assert torch.equal(red, blue) == covered


@pytest.mark.parametrize("indexed", [False, True])
def test_masks_in_colour_have_a_region_for_each_common_colour(tmp_path, indexed):
    labels = np.zeros((40, 48, 3), np.uint8)
    labels[:, :24], labels[:, 24:] = (200, 30, 0), (0, 60, 210)
    paths = [tmp_path / "ours.png", tmp_path / "theirs.png"]
    for path, pixels in zip(paths, (labels, labels[:, ::-1].copy()), strict=True):
        image = Image.fromarray(pixels)
        (image.convert("P", palette=Image.Palette.ADAPTIVE, colors=4) if indexed else image).save(path)
    both = torch.where(LEFT > 0, flat(RED), flat(BLUE))
    pixels = match([Region(paths[0], 0, paths[1])], both).pixels
    assert (pixels[2] - pixels[0])[:, :16].mean() > 0.2
    assert (pixels[0] - pixels[2])[:, 32:].mean() > 0.2


COLOURED, MANY_COLOURS = flat(RED), smooth_pair()[0][0]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (
            Region(LEFT, 2),
            "region 1: there is no appearance image 2; the appearance images, in order, are tensor, tensor",
        ),
        (Region(LEFT, -1), "no appearance image -1"),
        (Region(LEFT, "zebra"), "no appearance image 'zebra'"),
        (Region(LEFT, "tensor"), "2 appearance images have the name 'tensor'"),
        (Region(torch.ones(1, 20, 30)), "region 1: structure mask tensor is 30x20 px"),
        (Region(0 * LEFT), "black everywhere"),
        (Region(LEFT, 0, torch.ones(1, 20, 30)), "region 1: appearance mask tensor is 30x20 px"),
        (Region(LEFT, 0, 0 * LEFT), "black everywhere"),
        (1, "regions must be a list of vitsplice.Region; it contains an int"),
        (Region(torch.ones(2, 20)), "region 1: structure mask: 'tensor' is too small"),
        (Region(None), "region 1 has no structure mask; give an image of the structure image's size"),
        (Region(COLOURED), "one mask is in colour, and the other one is not or is missing"),
        (Region(COLOURED, 0, LEFT), "one mask is in colour, and the other one is not or is missing"),
        (Region(COLOURED, 0, flat(BLUE)), "no colour in common"),
        (Region(MANY_COLOURS, 0, MANY_COLOURS), "colours; a mask in colour has at most 32"),
    ],
)
def test_invalid_regions_are_named(region, message):
    with pytest.raises(UserError, match=message):
        match([region])


def test_one_region_is_a_list_of_one_and_none_an_empty_list():
    values = None, Region(LEFT), iter([Region(LEFT)])
    given = [RunInputs.read(STRUCTURE, APPEARANCE, regions=regions).regions for regions in values]
    assert [[region.appearance for region in regions] for regions in given] == [[], [0], [0]]


def test_colours_of_a_mask_are_computed_once(monkeypatch):
    labels = torch.where(LEFT > 0, flat(RED), flat(BLUE))
    masks = [read(mask) for mask in (labels, labels.flip(-1))]
    computed, colours = [], regions._colours
    monkeypatch.setattr(regions, "_colours", lambda *args: computed.append(args) or colours(*args))
    parts = regions.split_by_colour([regions.ReadRegion(masks[0], 0, masks[1])])
    assert len(computed) == 2
    assert [float(part.structure_mask.pixels[..., 0, 0].mean()) for part in parts] == [0, 1]  # blue, red
    assert all(torch.equal(part.structure_mask.pixels, part.appearance_mask.pixels.flip(-1)) for part in parts)


def test_regions_without_effect_are_refused():
    with pytest.raises(ConfigError, match="regions would have no effect"):
        vitsplice.splice(STRUCTURE, APPEARANCE, "tiny", regions=[Region(LEFT)])


def test_text_of_a_region_is_parsed_to_the_same_region(tmp_path):
    mask = tmp_path / "a=b.png"
    mask.touch()
    for region in (Region(str(mask), 0), Region(str(mask), "c=d.png", "e=f.png"), Region("missing.png", 1)):
        assert parse_region(region_text(region), 2) == region


def test_regions_are_restored_from_their_masks_by_name():
    regions = [Region("a", 1), Region("b", 2, "c")]
    named = region_masks(regions)
    assert list(named) == ["region_1_structure_mask", "region_2_structure_mask", "region_2_appearance_mask"]
    assert regions_from(named, [1, 2]) == regions


def test_command_and_code_repeat_regions():
    images, regions = {"structure": "s.png", "appearance": "a.png"}, [Region("m.png", "a.png", "n.png")]
    assert "--region m.png=a.png:n.png" in command_line(images, Changes("instant"), regions=regions)
    code = python_code(images, Changes("instant"), regions=regions)
    assert "import Region, splice" in code
    assert "Region(structure_mask='m.png', appearance='a.png', appearance_mask='n.png')" in code


@pytest.fixture
def files(tmp_path):
    pixels = {
        "structure": STRUCTURE[0],
        "appearance": flat(RED),
        "appearance_2": APPEARANCE[0],
        "left": LEFT.expand(3, -1, -1),
    }
    paths = {name: tmp_path / f"{name}.png" for name in pixels}
    for name, path in paths.items():
        path.write_bytes(encode_png(pixels[name]))
    return paths


@pytest.mark.slow
def test_a_stopped_run_with_regions_resumes_to_the_same_bytes_unless_a_mask_changed(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    files = {name: Path(tmp_path.name, path.name) for name, path in files.items()}
    settings, left = settings_for("tiny", overrides=["steps=4", *STAGED_PYRAMID]), files.pop("left")
    regions = [Region(left, f"./{tmp_path.name}/appearance_2.png", left)]
    whole = take_steps(Recording.begin(files, settings, tmp_path / "whole", regions=regions))
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["regions"][0]["appearance"] == "appearance_2"
    take_steps(Recording.begin(files, settings, tmp_path / "parts", regions=regions), until=2)
    shutil.copytree(tmp_path / "parts", tmp_path / "changed")
    assert take_steps(Recording.resume(tmp_path / "parts")) == whole
    assert take_steps(Recording.begin(files, settings, tmp_path / "without")) != whole
    left.write_bytes(encode_png(1 - LEFT.expand(3, -1, -1)))
    with pytest.raises(CheckpointRejected, match="structure mask of region 1"):
        Recording.resume(tmp_path / "changed")
