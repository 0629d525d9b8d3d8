"""Alpha goes on white."""

import numpy as np
import pytest
from PIL import Image

from vitsplice.images import read

from .conftest import LOSSLESS, H, W, hwc, on_white, rgb8


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_composited_on_white(tmp_path, suffix):
    raw = rgb8(channels=4)
    raw[0, :3, 3] = (0, 255, 128)
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}", exact=True, **LOSSLESS[suffix])
    picture = read(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(hwc(picture), on_white(raw[..., :3], raw[..., 3]), atol=1e-6)
    assert (hwc(picture)[0, 0] == 1).all()
    assert (hwc(picture)[0, 1] == raw[0, 1, :3].astype(np.float32) / 255).all()
    assert picture.notes == ("alpha composited on white",)


def test_opaque_alpha_changes_nothing_and_is_not_noted(tmp_path):
    raw = rgb8(channels=4)
    raw[..., 3] = 255
    Image.fromarray(raw).save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert np.array_equal(hwc(picture), raw[..., :3].astype(np.float32) / 255)
    assert picture.notes == ()


def test_grey_with_alpha(tmp_path):
    raw = rgb8(channels=2)
    Image.merge("LA", [Image.fromarray(raw[..., i].copy()) for i in (0, 1)]).save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    expected = on_white(np.repeat(raw[..., :1], 3, axis=2), raw[..., 1])
    np.testing.assert_allclose(hwc(picture), expected, atol=1e-6)
    assert picture.notes == ("alpha composited on white",)


@pytest.mark.parametrize(("mode", "premultiplied"), [("LA", "La"), ("RGBA", "RGBa")])
def test_premultiplied_alpha_is_not_multiplied_again(mode, premultiplied):
    raw = rgb8(channels=len(mode))
    image = Image.merge(mode, [Image.fromarray(raw[..., i].copy()) for i in range(len(mode))])
    straight, multiplied = read(image), read(image.convert(premultiplied))
    np.testing.assert_allclose(hwc(multiplied), hwc(straight), atol=0.6 / 255)
    assert multiplied.notes == ("alpha composited on white",)


def test_colour_above_its_alpha_stays_in_range():
    glowing = Image.frombytes("La", (W, H), b"\xff\x40" * (W * H))
    assert (read(glowing).pixels == 1).all()
