"""Painted masks, whose bytes any client can send."""

import io

import pytest
from PIL import Image
from vitsplice_app.masks import mask_input, painted_mask

from vitsplice.errors import ImageError
from vitsplice.images import example, read


def encoded(file_format):
    file = io.BytesIO()
    layer = Image.new("RGB", (20, 20))
    layer.paste("white", (0, 0, 10, 20))
    layer.save(file, file_format)
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


@pytest.fixture
def editor(build_page):
    """Editor of a mask."""
    editors = []
    build_page(lambda: editors.append(mask_input("Mask")))
    return editors[0]


def background(editor, path):
    return editor.postprocess({"background": str(path), "layers": [], "composite": None}).background.path


@pytest.mark.parametrize("name", ["image.tif", "image.TIFF"])
def test_editor_shows_a_tiff_as_a_png(editor, tmp_path, name):
    Image.new("RGB", (20, 30)).save(tmp_path / name, "TIFF")
    with Image.open(background(editor, tmp_path / name)) as shown:
        assert shown.format == "PNG"
        assert shown.size == (20, 30)


def test_unreadable_tiff_is_passed_to_the_editor_unchanged(editor, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"broken")
    assert background(editor, tmp_path / "broken.tif").endswith("broken.tif")
