import pytest
import torch

from tests.conftest import noise
from vitsplice.config import BlurConfig, JitterConfig, ViewConfig
from vitsplice.engine.views import ENOUGH, View, draw, draw_for, entire
from vitsplice.rng import stream

PLAIN = ViewConfig(flip=0)
ALL = ViewConfig(crop=(0.5, 1.0), jitter=JitterConfig(probability=1), blur=BlurConfig(probability=1))


def many(config, count=400, size=(100, 140)):
    return [draw(config, *size, stream(0, i)) for i in range(count)]


def test_crops_are_squares_of_95_to_100_percent_of_the_shorter_side_at_any_position():
    views = many(PLAIN)
    assert {v.height for v in views} == set(range(95, 101))
    assert all(v.height == v.width and v.top + v.height <= 100 and v.left + v.width <= 140 for v in views)
    assert min(v.left for v in views) == 0
    assert max(v.left + v.width for v in views) == 140


@pytest.mark.slow
def test_flip_jitter_and_blur_have_their_probabilities():
    config = ViewConfig(flip=0.5, jitter=JitterConfig(probability=0.2), blur=BlurConfig(probability=0.8))
    views = many(config, 2000)
    assert sum(v.flip for v in views) / 2000 == pytest.approx(0.5, abs=0.04)
    assert sum(bool(v.jitter) for v in views) / 2000 == pytest.approx(0.2, abs=0.04)
    assert sum(v.blur is not None for v in views) / 2000 == pytest.approx(0.8, abs=0.04)


def test_jitter_and_blur_are_within_their_ranges_and_jitter_in_every_order():
    views = many(ALL)
    amounts = [dict(v.jitter) for v in views]
    assert all(0.6 <= a["brightness"] <= 1.4 and 0.6 <= a["contrast"] <= 1.4 for a in amounts)
    assert all(0.8 <= a["saturation"] <= 1.2 and -0.1 <= a["hue"] <= 0.1 for a in amounts)
    assert len({tuple(name for name, _ in v.jitter) for v in views}) == 24
    assert all(0.1 <= v.blur[1] <= 2.0 and v.blur[0] == 3 for v in views)


def test_view_depends_only_on_the_random_stream():
    assert draw(ALL, 100, 140, stream(3, 7, "x")) == draw(ALL, 100, 140, stream(3, 7, "x"))
    assert draw(ALL, 100, 140, stream(3, 7, "x")) != draw(ALL, 100, 140, stream(3, 8, "x"))


def test_entire_view_is_the_image():
    image = noise(1, 3, 20, 30)
    assert torch.equal(entire(image)(image), image)


def test_crop_is_taken_before_the_flip():
    image = torch.arange(20.0).view(1, 1, 4, 5).repeat(1, 3, 1, 1)
    view = View(1, 2, 2, 3, flip=True)
    assert view.crop(image)[0, 0].tolist() == [[9, 8, 7], [14, 13, 12]]


def test_colour_changes_preserve_shape_and_range():
    view = draw(ALL, 40, 60, stream(1))
    image = noise(1, 3, 40, 60)
    assert view(image).shape == view.crop(image).shape
    assert not torch.equal(view(image), view.crop(image))
    assert view(image).min() >= 0
    assert view(image).max() <= 1


def test_views_draw_no_global_random_numbers():
    state = torch.get_rng_state()
    draw(ALL, 40, 60, stream(1))(noise(1, 3, 40, 60))
    assert torch.equal(torch.get_rng_state(), state)


CROP = (0.75, 1.0)
TOP = (slice(0, 15), slice(0, 112))
CORNER = (slice(100, 112), slice(100, 112))
PIXEL = (slice(111, 112), slice(0, 1))


def with_mask(where, size=(112, 112)):
    mask = torch.zeros(1, 1, *size)
    mask[(..., *where)] = 1
    return mask


def views_of(mask, shape="image", bank=12):
    config = ViewConfig(crop=CROP, shape=shape, bank=bank, flip=0)
    return [draw_for(config, torch.zeros(1, 3, *mask.shape[-2:]), 0, step, "appearance", mask) for step in range(60)]


@pytest.mark.parametrize("bank", [12, None])
@pytest.mark.parametrize("shape", ["image", "square"])
@pytest.mark.parametrize("where", [TOP, CORNER, PIXEL])
def test_every_view_contains_most_of_the_mask(where, shape, bank):
    mask = with_mask(where)
    for view in views_of(mask, shape, bank):
        assert view.crop(mask).shape[-2:] == (view.height, view.width)
        # The strip at the top is as wide as the image, so a view contains at most a part of it.
        largest = mask[..., : view.height, : view.width].sum() if where is TOP else mask.sum()
        assert view.crop(mask).sum() >= ENOUGH * largest


def test_mask_larger_than_the_view_is_contained_in_part():
    ring = with_mask((slice(0, 112), slice(0, 112)))
    ring[..., 10:102, 10:102] = 0
    for view in views_of(ring):
        assert view.crop(ring).sum() > 0
    corners = with_mask(CORNER) + with_mask(PIXEL)  # 144 px and 1 px: no view of three quarters has both
    assert all(view.crop(corners).sum() >= ENOUGH * 144 for view in views_of(corners))


def test_white_mask_and_central_mask_do_not_change_views():
    plain = [draw_for(ViewConfig(crop=CROP), torch.zeros(1, 3, 112, 112), 0, step, "structure") for step in range(20)]
    middle = with_mask((slice(50, 62), slice(50, 62)))
    for mask in (torch.ones(1, 1, 112, 112), middle):
        config = ViewConfig(crop=CROP)
        drawn = [draw_for(config, torch.zeros(1, 3, 112, 112), 0, step, "structure", mask) for step in range(20)]
        assert drawn == plain


def test_views_of_a_masked_image_cover_all_allowed_positions_deterministically():
    mask = with_mask((slice(0, 15), slice(0, 150)), (112, 150))
    views = views_of(mask, bank=None)
    assert views == views_of(mask, bank=None)
    assert max(view.top for view in views) == 1  # at least 90 % of the 15 rows of the mask
    assert len({view.left for view in views}) > 15
