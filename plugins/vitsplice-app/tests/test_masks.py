"""Painted masks, whose bytes any client can send."""

import io

import pytest
from PIL import Image
from vitsplice_app.masks import painted_mask

from vitsplice.errors import ImageError
from vitsplice.images import example, read


def encoded(suffix):
    file = io.BytesIO()
    layer = Image.new("RGB", (20, 20))
    layer.paste("white", (0, 0, 10, 20))
    layer.save(file, suffix)
    return file.getvalue()


def test_mask_is_as_large_as_its_image(tmp_path):
    (tmp_path / "mask.png").write_bytes(painted_mask(encoded("PNG"), example()[0]))
    mask, image = read(tmp_path / "mask.png").pixels, read(example()[0]).pixels
    assert mask.shape == image.shape
    assert 0.45 < mask.mean() < 0.55


@pytest.mark.parametrize("layer", [b"%!PS-Adobe-3.0 EPSF-3.0", encoded("PPM"), encoded("EPS"), b"", b"nothing"])
def test_other_formats_are_refused(layer):
    """Pillow opens PostScript with another program."""
    with pytest.raises(ImageError, match="painted mask"):
        painted_mask(layer, example()[0])
