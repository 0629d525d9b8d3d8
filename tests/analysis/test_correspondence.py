from functools import partial

import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis import correspondence
from vitsplice.analysis.correspondence import DATA, PointMatch, description_cache, draw, match_images, save
from vitsplice.errors import UserError
from vitsplice.images import read


def test_lines_connect_the_points_of_a_match():
    first, second = torch.zeros(1, 3, 40, 60), torch.zeros(1, 3, 20, 20)
    drawing = draw([PointMatch((45, 10), (5, 15), 1.0, 1.0)], first, second, height=80)
    assert drawing.shape == (3, 80, 120 + 80)
    red = (drawing[0] == 1).nonzero().double()
    assert red[red[:, 1] < 100].mean(0).sub(torch.tensor([20.0, 90.0])).abs().max() < 10
    ends = red[red[:, 1].argsort()][[0, -1]]
    assert torch.allclose(ends, torch.tensor([[20.0, 90], [60.0, 140]], dtype=torch.float64), atol=4)


def test_extremely_narrow_image_is_drawn_one_pixel_wide():
    assert draw([], noise(1, 3, 16_000, 16), noise(1, 3, 16, 16)).shape == (3, 480, 1 + 480)


def test_images_in_memory_and_a_loaded_backbone_give_the_same_result_as_files_and_a_name(png, pair, vit):
    from_files = match_images(*png, backbone="tiny-vit", grid=6)
    with torch.inference_mode():
        from_memory = match_images(*(image.mul(255).round().div(255) for image in pair), backbone=vit, grid=6)
    assert from_memory.info == from_files.info
    assert torch.equal(from_memory.warped_colours(), from_files.warped_colours())


@pytest.mark.parametrize(
    ("chosen", "requests"),
    [
        ({"facet": "value", "layer": 0}, ["value[-3]"]),
        ({"facet": "value"}, ["value[-1]"]),
        ({"layer": 1}, ["key[-2]"]),
        ({}, ["key[-3]", "key[-1]", "token[-1]", "value[-3]"]),
    ],
)
def test_facet_and_layer_choose_what_is_matched(pair, vit, chosen, requests):
    result = match_images(*pair, backbone=vit, grid=6, **chosen)
    assert list(map(str, result.requests)) == requests
    assert [feature["layer"] for feature in result.record()["features"]] == [r.layer for r in result.requests]


def test_a_global_facet_has_no_patches_to_match(pair, vit):
    with pytest.raises(UserError, match="'cls' is global"):
        match_images(*pair, backbone=vit, facet="cls")


def test_descriptions_in_the_cache_are_not_computed_again(pair, vit):
    passes = []

    class Counted:
        info = vit.info

        def to(self, device, dtype):
            return self

        def __call__(self, images, requests):
            passes.append(len(images))
            return vit(images, requests)

    cache = description_cache()
    first = match_images(*pair, backbone=Counted(), grid=6, cache=cache)
    per_match = len(passes)
    second = match_images(*pair, backbone=Counted(), grid=6, balance=0.5, cache=cache)
    assert len(passes) == per_match > 0
    assert torch.equal(first.correspondence.similarity, second.correspondence.similarity)
    match_images(*pair, backbone=Counted(), grid=6, layer=0, cache=cache)
    assert len(passes) == 2 * per_match


def test_images_of_equal_bytes_and_different_shapes_have_different_descriptions(vit):
    wide, cache = noise(1, 3, 32, 64), description_cache()
    tall = wide.reshape(1, 3, 64, 32)
    assert read(wide).sha256 == read(tall).sha256
    for image in (wide, tall):
        result = match_images(image, image, backbone=vit, grid=6, cache=cache)
        alone = match_images(image, image, backbone=vit, grid=6)
        assert result.correspondence.grid == alone.correspondence.grid
        assert torch.equal(result.correspondence.similarity, alone.correspondence.similarity)


@pytest.mark.slow
def test_limit_concerns_the_drawing_only(pair, vit, tmp_path, monkeypatch):
    monkeypatch.setattr(correspondence, "draw", partial(draw, height=60))
    result = match_images(*pair, backbone=vit, grid=4)
    first, second = (save(result, tmp_path / str(limit), limit) for limit in (1, 100))
    assert first.read_bytes() != second.read_bytes()
    assert first.with_name(DATA).read_bytes() == second.with_name(DATA).read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"grid": 1}, "grid=1"), ({"temperature": 0.0}, "temperature=0.0"), ({"balance": 1.5}, "balance=1.5")],
)
def test_a_value_out_of_range_is_refused_before_the_backbone_is_loaded(pair, wrong, message):
    with pytest.raises(UserError, match=f"{message} is not allowed"):
        match_images(*pair, backbone="tiny-gone", **wrong)


def test_a_negative_limit_is_refused(pair, vit):
    result = match_images(*pair, backbone=vit, grid=4)
    assert result.matches(0) == []
    with pytest.raises(UserError, match="limit=-1 is not allowed"):
        result.matches(-1)


def test_record_has_the_images_and_how_they_were_matched(pair, vit):
    mirrored = pair[0].flip(3)
    record = match_images(pair[0], mirrored, backbone=vit, grid=6, temperature=0.1, balance=0.5).record()
    assert record["images"] == [{"name": "tensor", "sha256": read(image).sha256} for image in (pair[0], mirrored)]
    assert (record["grid"], record["temperature"], record["balance"]) == (6, 0.1, 0.5)
    assert record["second_mirrored"]
    assert not match_images(pair[0], pair[0], backbone=vit, grid=6).record()["second_mirrored"]
