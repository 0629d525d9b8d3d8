"""Alpha channels of images and masks."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images.conftest import LOSSLESS, H, W, hwc, on_white, rgb8
from vitsplice.images import is_black, read, read_mask


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_composited_on_white(tmp_path, suffix):
    raw = rgb8(channels=4)
    raw[0, :3, 3] = (0, 255, 128)
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}", exact=True, **LOSSLESS[suffix])
    image = read(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(hwc(image), on_white(raw[..., :3], raw[..., 3]), atol=1e-6)
    assert (hwc(image)[0, 0] == 1).all()
    assert (hwc(image)[0, 1] == raw[0, 1, :3].astype(np.float32) / 255).all()
    assert image.notes == ("alpha composited on white",)


def test_opaque_alpha_is_removed_without_a_note(tmp_path):
    raw = rgb8(channels=4)
    raw[..., 3] = 255
    Image.fromarray(raw).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert np.array_equal(hwc(image), raw[..., :3].astype(np.float32) / 255)
    assert image.notes == ()


def test_grey_with_alpha_is_composited_on_white(tmp_path):
    raw = rgb8(channels=2)
    Image.merge("LA", [Image.fromarray(raw[..., i].copy()) for i in (0, 1)]).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    expected = on_white(np.repeat(raw[..., :1], 3, axis=2), raw[..., 1])
    np.testing.assert_allclose(hwc(image), expected, atol=1e-6)
    assert image.notes == ("alpha composited on white",)


@pytest.mark.parametrize(("mode", "premultiplied"), [("LA", "La"), ("RGBA", "RGBa")])
def test_premultiplied_alpha_is_not_multiplied_again(mode, premultiplied):
    raw = rgb8(channels=len(mode))
    image = Image.merge(mode, [Image.fromarray(raw[..., i].copy()) for i in range(len(mode))])
    straight, multiplied = read(image), read(image.convert(premultiplied))
    np.testing.assert_allclose(hwc(multiplied), hwc(straight), atol=0.6 / 255)
    assert multiplied.notes == ("alpha composited on white",)


def test_premultiplied_colour_above_alpha_is_clipped():
    glowing = Image.frombytes("La", (W, H), b"\xff\x40" * (W * H))
    assert (read(glowing).pixels == 1).all()


def half_transparent(mode="RGBA"):
    raw = rgb8(channels=4)
    raw[..., 3] = 255
    raw[:, : W // 2, 3] = 0
    return Image.fromarray(raw).convert(mode), raw[..., 3].astype(np.float32) / 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_varying_alpha_is_used_as_the_mask(mode):
    image, alpha = half_transparent()
    image = image.convert("LA").convert("La") if mode == "La" else image.convert(mode)
    loaded = read_mask(image)
    assert np.array_equal(hwc(loaded), np.repeat(alpha[..., None], 3, axis=2))
    assert loaded.notes == ("alpha used as the mask",)


def test_alpha_of_arrays_and_files_is_used_as_the_mask(tmp_path):
    image, alpha = half_transparent()
    image.save(tmp_path / "a.png")
    for source in (np.asarray(image), tmp_path / "a.png"):
        assert np.array_equal(hwc(read_mask(source))[..., 0], alpha)


@pytest.mark.parametrize("value", [255, 128])
def test_constant_alpha_above_0_is_not_used_as_the_mask(value):
    image, _ = half_transparent()
    image.putalpha(value)
    assert torch.equal(read_mask(image).pixels, read(image).pixels)


def test_alpha_of_0_everywhere_is_used_as_the_mask():
    image, _ = half_transparent()
    image.putalpha(0)
    assert is_black(read_mask(image).pixels)


def test_jpeg_artefacts_count_as_black_and_dark_grey_does_not():
    assert not is_black(torch.full((1, 3, 16, 16), 0.2))
    assert is_black(torch.full((1, 3, 16, 16), 0.03))


def test_mask_without_alpha_has_no_notes():
    assert read_mask(np.zeros((16, 16))).notes == ()
