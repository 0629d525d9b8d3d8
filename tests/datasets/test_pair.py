import json
from dataclasses import replace
from pathlib import Path

import pytest

from vitsplice import Region
from vitsplice.datasets import Pair, read, write
from vitsplice.errors import ConfigError, UserError

HEADER = "id,structure,appearance,appearance_2,appearance_2_mask,appearance_3,appearance_weight,appearance_2_weight"
REGIONS = "id,structure,appearance,appearance_2,region_1,region_2"


def read_csv(folder, header, line):
    (folder / "pairs.csv").write_text(f"{header}\n{line}\n")
    return next(read(folder / "pairs.csv"))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_written_pair_with_several_images_and_regions_is_read_back(tmp_path, suffix):
    masks = [tmp_path / f"{name}.png" for name in "klmn"]
    several = Pair(
        "several",
        tmp_path / "s.png",
        tmp_path / "a.png",
        appearance_mask=masks[0],
        others=((tmp_path / "b.png", None), (Path("/else/c.png"), masks[1])),
        weights=(0.1, 1.0, 2.5),
        regions=(Region(masks[2], 2, masks[3]), Region(masks[3], 0)),
    )
    pairs = [several, Pair("plain", tmp_path / "s.png", tmp_path / "a.png")]
    write(tmp_path / f"pairs.{suffix}", pairs)
    assert list(read(tmp_path / f"pairs.{suffix}")) == pairs


def test_images_have_the_names_that_a_run_gives_them(tmp_path):
    pair = read_csv(tmp_path, HEADER, "a,s.png,a.png,b.png,m.png,c.png,,")
    names = ["structure", "appearance", "appearance_2", "appearance_3", "appearance_2_mask"]
    assert pair.images == {n: tmp_path / f"{letter}.png" for n, letter in zip(names, "sabcm", strict=True)}
    assert (pair.weights, pair.regions) == ((), ())


def test_an_image_without_a_weight_has_weight_1_if_another_has_one(tmp_path):
    assert read_csv(tmp_path, HEADER, "a,s.png,a.png,b.png,,c.png,,0.5").weights == (1.0, 0.5, 1.0)


def test_json_weights_may_be_numbers(tmp_path):
    row = {"id": "a", "structure": "s", "appearance": "a", "appearance_2": "b", "appearance_weight": 3}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    assert next(read(tmp_path / "pairs.jsonl")).weights == (3.0, 1.0)


@pytest.mark.parametrize("image", ["2", "images/b.png", "b.png", "b"])
def test_region_names_its_image_by_number_or_name(tmp_path, image):
    pair = read_csv(tmp_path, REGIONS, f"a,s.png,a.png,images/b.png,m.png={image}:n.png,m.png=1")
    assert pair.regions == (Region(tmp_path / "m.png", 1, tmp_path / "n.png"), Region(tmp_path / "m.png", 0))


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (HEADER, "a,s,a,,,c,,", "line 2: appearance_3 is given, but appearance_2 is empty"),
        (HEADER, "a,s,a,,m,,,", "appearance_2_mask is given, but appearance_2 is empty"),
        (HEADER, "a,s,a,,,,,2", "appearance_2_weight is given, but appearance_2 is empty"),
        (HEADER, "a,s,a,b,,,0,1", "must be from 1e-06 to 1e.06, not 0, 1"),
        (HEADER, "a,s,a,b,,,,half", "weights must be numbers above 0, not half"),
        (REGIONS, "a,s,a,b,,m.png=1", "region_2 is given, but region_1 is empty"),
        (REGIONS, "a,s,a,b,m.png=c.png,", "line 2: region 1: there is no appearance image 'c.png'; .* are a, b"),
        (REGIONS, "a,s,a,b,m.png=3,", "region 1: there is no appearance image '3'"),
        (REGIONS, "a,s,a,b,m.png,", "a region is MASK=IMAGE or MASK=IMAGE:MASK, not 'm.png'"),
        ("id,structure,appearance,appearance_1", "a,s,a,b", "unknown field 'appearance_1'; allowed: .*appearance_2"),
        ("id,structure,appearance,region", "a,s,a,b", "unknown field 'region'; allowed: .*region_1"),
    ],
)
def test_invalid_field_is_named(tmp_path, header, line, message):
    with pytest.raises(ConfigError, match=message):
        read_csv(tmp_path, header, line)


def test_a_pair_that_is_not_plain_is_refused_with_the_reason(tmp_path):
    Pair("plain", tmp_path / "s", tmp_path / "a").check_plain("")
    several = Pair("p", tmp_path / "s", tmp_path / "a", others=((tmp_path / "b", None),))
    with pytest.raises(UserError, match="pair p has several appearance images; a study shows one"):
        several.check_plain("a study shows one")
    with pytest.raises(UserError, match="pair q has regions"):
        Pair("q", tmp_path / "s", tmp_path / "a", regions=(Region("m", 0),)).check_plain("")


def test_mask_with_an_equals_sign_beside_the_manifest_is_found(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "m=1.png").touch()
    monkeypatch.chdir(tmp_path)
    pair = Pair("p", tmp_path / "s", tmp_path / "a", regions=(Region(tmp_path / "data" / "m=1.png", 0),))
    write(tmp_path / "data" / "pairs.csv", [pair])
    assert list(read(tmp_path / "data" / "pairs.csv")) == [pair]


@pytest.mark.parametrize("name", ["'", "-1", "+.5"])
def test_region_mask_whose_name_resembles_a_formula_is_read_back(tmp_path, name):
    pair = Pair("p", tmp_path / "s", tmp_path / "a", regions=(Region(tmp_path / name, 0),))
    write(tmp_path / "pairs.csv", [pair])
    assert list(read(tmp_path / "pairs.csv")) == [pair]


def test_region_that_would_not_be_read_back_is_refused(tmp_path):
    pair = Pair("p", tmp_path / "s", tmp_path / "a", regions=(Region(tmp_path / "m=1.png", 0),))
    with pytest.raises(
        UserError, match="region_1 would not be read back from 'm=1.png=1'; rename the mask without '='"
    ):
        write(tmp_path / "pairs.csv", [pair])
    assert not (tmp_path / "pairs.csv").exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"structure": Path("s.png ")}, "structure"),
        ({"appearance_mask": Path("/else/m.png\n")}, "appearance_mask"),
        ({"regions": (Region("m.png", 0, "n.png\t"),)}, "region_1"),
    ],
)
def test_path_that_ends_in_white_space_is_refused(tmp_path, changes, field):
    pair = replace(Pair("p", tmp_path / "s", tmp_path / "a"), **changes)
    with pytest.raises(UserError, match=f"pair p: {field} would not be read back from '.*'; rename the file"):
        write(tmp_path / "pairs.csv", [pair])
