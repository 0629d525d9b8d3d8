import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vitsplice.datasets.duplicates import look_alike
from vitsplice.datasets.looks import BITS, look
from vitsplice.images import EXAMPLE_PAIRS, example, read

PHOTOGRAPHS = [path for name in EXAMPLE_PAIRS for path in example(name)]


def resaved(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream)


COPIES = {
    "saved again": resaved,
    "a third the size": lambda image: ImageOps.contain(image, (image.width // 3, image.height // 3)),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.9),
    "an edge cut off": lambda image: image.crop((2, 2, image.width - 2, image.height - 2)),
}
OTHERS = {
    "mirrored": ImageOps.mirror,
    "other colours": lambda image: Image.merge("RGB", image.split()[::-1]),
    "upside down": ImageOps.flip,
    "a quarter of it": lambda image: image.crop((0, 0, image.width // 2, image.height // 2)),
}


@pytest.fixture
def changed(tmp_path):
    def change(path, how):
        how(Image.open(path).convert("RGB")).save(tmp_path / "changed.png")
        return look(tmp_path / "changed.png")

    return change


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_looks_the_same(changed, how):
    for path in PHOTOGRAPHS:
        assert look_alike(look(path), changed(path, COPIES[how])), path.name


@pytest.mark.parametrize("how", OTHERS)
def test_another_image_does_not(changed, how):
    for path in PHOTOGRAPHS:
        assert not look_alike(look(path), changed(path, OTHERS[how])), path.name


def test_photographs_do_not_look_alike():
    looks = [look(path) for path in PHOTOGRAPHS]
    assert not any(look_alike(one, two) for one in looks for two in looks if one is not two)


def test_a_look_is_small_and_of_the_whole_file():
    seen, image = look(PHOTOGRAPHS[0]), read(PHOTOGRAPHS[0])
    assert (seen.sha256, seen.size) == (image.sha256, tuple(image.pixels.shape[-2:]))
    assert seen.bits.shape == (BITS,)
    mean = np.array(Image.open(PHOTOGRAPHS[0]).convert("L")).mean() / 255 * 100
    assert seen.colours[:64].mean() == pytest.approx(mean, abs=8)


@pytest.mark.parametrize("size", [(16, 16), (17, 540), (40, 31)])
def test_small_and_long_images_have_a_look(tmp_path, size):
    Image.effect_noise(size, 80).save(tmp_path / "p.png")
    assert look(tmp_path / "p.png").bits.any()


def test_plain_images_are_told_apart_by_their_colour(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue"), ("c", (250, 0, 0))):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    red, blue, alike = (look(tmp_path / f"{name}.png") for name in "abc")
    assert look_alike(red, alike)
    assert not look_alike(red, blue)
