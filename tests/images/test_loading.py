"""Images from arrays, tensors and PIL images; names; side effects of reading."""

import gc
import hashlib
import io
import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images.conftest import H, W, hwc, on_white, refused, rgb8
from vitsplice.errors import ImageError
from vitsplice.images import LARGEST_SIDE, LoadedImage, image_stamp, loading, read, read_mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_array_is_scaled_to_the_unit_range(dtype, channels):
    shape = (H, W) if channels is None else (H, W, channels)
    unit = np.random.default_rng(3).random(shape)
    peak = {1: 255, 2: 65535}[np.dtype(dtype).itemsize] if np.dtype(dtype).kind == "u" else 1
    array = (unit * peak).astype(dtype)
    array.flags.writeable = False
    expected = np.broadcast_to(array.reshape(H, W, -1).astype(np.float64) / peak, (H, W, 3))
    image = read(array)
    np.testing.assert_allclose(hwc(image), expected, atol=1e-7)
    assert image.notes == ()
    assert image.name == "array"
    assert image.sha256 == hashlib.sha256(image.pixels.numpy().tobytes()).hexdigest()


def test_array_with_alpha_and_negative_strides_is_read():
    raw = rgb8(channels=4)
    image = read(raw[::-1, ::-1])
    np.testing.assert_allclose(hwc(image), on_white(raw[..., :3], raw[..., 3])[::-1, ::-1], atol=1e-6)
    assert image.notes == ("alpha composited on white",)


@pytest.mark.parametrize("shape", [(3, H, W), (1, 3, H, W)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
def test_tensor_is_read_as_float32(shape, dtype):
    unit = torch.rand(shape, generator=torch.Generator().manual_seed(4))
    tensor = (unit * 255).to(dtype) if dtype == torch.uint8 else unit.to(dtype)
    image = read(tensor)
    expected = tensor.float() / (255 if dtype == torch.uint8 else 1)
    assert torch.equal(image.pixels, expected.reshape(1, 3, H, W))
    assert (image.notes, image.name) == ((), "tensor")
    assert image.sha256 == hashlib.sha256(image.pixels.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_loaded_image_is_a_copy(kind):
    source = torch.full((3, H, W), 0.5) if kind == "tensor" else np.full((H, W, 3), 0.5, np.float32)
    image = read(source)
    source[:] = 1
    assert (image.pixels == 0.5).all()


def test_tensor_with_gradient_is_detached():
    assert not read(torch.full((3, H, W), 0.5, requires_grad=True)).pixels.requires_grad


def test_pil_image_is_identified_by_its_pixels(tmp_path):
    image = Image.fromarray(rgb8())
    loaded = read(image)
    assert np.array_equal(hwc(loaded), rgb8().astype(np.float32) / 255)
    assert loaded.name == "PIL image"
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        again = read(opened)
    assert again.name.endswith("a.png")
    assert again.sha256 == loaded.sha256 == hashlib.sha256(loaded.pixels.numpy().tobytes()).hexdigest()


def test_pil_image_is_not_modified():
    image = Image.fromarray(rgb8(channels=4))
    image.getexif()[0x0112] = 6
    before = image.copy()
    read(image)
    assert image == before
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (np.zeros((H, W, 2)), "(20, 24, 2)"),
        (np.zeros((3, H, W)), "(3, 20, 24)"),
        (np.zeros(W), "(24,)"),
        (np.zeros((1, H, W, 3)), "(1, 20, 24, 3)"),
        (np.zeros((H, W), bool), "bool"),
        (np.zeros((H, W), np.int64), "int64"),
        (np.zeros((H, W), complex), "complex128"),
        (np.zeros((H, W), object), "object"),
        (np.zeros((0, 0, 3)), "0 x 0"),
        (np.full((H, W), 255.0), "from 255 to 255"),
        (np.full((H, W), -0.5), "from -0.5 to -0.5"),
        (np.full((H, W), np.nan), "NaN"),
        (torch.zeros(1, H, W), "(1, 20, 24)"),
        (torch.zeros(2, 3, H, W), "(2, 3, 20, 24)"),
        (torch.zeros(H, W, 3), "(20, 24, 3)"),
        (torch.zeros(3, H, W, dtype=torch.int64), "int64"),
        (torch.zeros(3, H, W, dtype=torch.complex64), "complex64"),
        (torch.full((3, H, W), 1.5), "from 1.5 to 1.5"),
        (torch.full((3, H, W), torch.nan), "NaN"),
        (torch.zeros(3, 15, W), "24 x 15"),
        (np.zeros((H, LARGEST_SIDE + 1), np.uint8), "16385 x 20"),
        ([[0, 1]], "list"),
        (None, "this is None"),
        (b"a.png", "bytes"),
        (io.BytesIO(b""), "BytesIO"),
    ],
)
def test_invalid_source_is_refused(source, expected):
    assert expected in refused(source)


@pytest.mark.parametrize("source", [np.zeros((3, 3)), np.full((32, 32, 3), 200.0), np.zeros((3, 32, 32))])
def test_role_is_named_for_an_image_without_a_file(source):
    with pytest.raises(ImageError, match=r"^structure image: .*(enlarge it|divide by 255|allowed as a tensor)"):
        read(source, "structure image")


@pytest.mark.parametrize("hidden", [255.0, np.nan, 0.5])
def test_masked_array_is_refused_for_any_masked_value(hidden):
    array = np.ma.masked_array(np.full((H, W, 3), 0.5))
    assert (read(array).pixels == 0.5).all()
    array[2:4] = np.ma.masked
    array.data[2:4] = hidden
    assert "no masked values" in refused(array)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # numpy discourages np.matrix
def test_numpy_matrix_is_read_as_an_array():
    unit = np.random.default_rng(0).random((H, W))
    assert torch.equal(read(np.matrix(unit)).pixels, read(unit).pixels)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8"])
def test_big_endian_strided_and_broadcast_arrays_are_read(dtype):
    unit = np.random.default_rng(0).random((H, W, 3)).astype(dtype)
    np.testing.assert_allclose(hwc(read(unit[::-1, ::-1, ::-1])), unit[::-1, ::-1, ::-1], atol=1e-7)
    flat = np.broadcast_to(unit[:1, :1], unit.shape)
    np.testing.assert_allclose(hwc(read(flat)), flat, atol=1e-7)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.zeros(3, H, W, device="meta"), "meta"),
        (torch.zeros(3, H, W).to_sparse(), "sparse"),
        (torch.zeros(3, H, 0), "(3, 20, 0)"),
    ],
)
def test_tensor_without_dense_values_is_refused(tensor, expected):
    assert expected in refused(tensor)


@pytest.mark.filterwarnings("ignore")  # masked and nested tensors are prototypes, and warn
def test_masked_and_nested_tensors_are_refused():
    plain = torch.full((3, H, W), 0.5)
    assert "MaskedTensor" in refused(torch.masked.masked_tensor(plain, plain > 0))
    assert "nested" in refused(torch.nested.nested_tensor([plain]))


def test_sparse_masks_are_refused():
    with pytest.raises(ImageError, match="^structure mask: .*must be a dense tensor"):
        read_mask(torch.zeros(H, W).to_sparse(), "structure mask")


def test_refusal_of_another_type_names_the_accepted_ones():
    message = refused(7)
    assert all(word in message for word in ("path", "PIL image", "numpy array", "torch tensor"))


def test_file_that_is_no_image_is_refused_before_all_of_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "film.mkv").write_bytes(b"no image")
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: pytest.fail("the whole file is read"))
    assert "is not an image" in refused(tmp_path / "film.mkv")


@torch.inference_mode()
def test_pixels_read_in_inference_mode_can_be_trained_on(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", rgb8(), Image.fromarray(rgb8()), torch.rand(3, H, W)):
        assert not read(source).pixels.is_inference()


def test_values_beyond_float32_are_refused():
    assert "values from inf to inf" in refused(np.full((H, W), 1e300))


def test_closed_pil_image_is_refused(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "shut.png")
    image = Image.open(tmp_path / "shut.png")
    image.close()
    assert "shut.png" in refused(image)


def test_pillow_warnings_are_suppressed_and_filters_restored(tmp_path, monkeypatch):
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", H * W - 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        read(tmp_path / "a.png")
        assert warnings.filters == filters
    assert caught == []


@pytest.mark.slow
def test_files_are_closed_after_success_and_failure(tmp_path):
    """An open file would be reported as a ResourceWarning."""
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(tmp_path / "a.png")
        for name in ("b.png", "none.png"):
            refused(tmp_path / name)
        gc.collect(1)
    assert [str(w.message) for w in caught if str(tmp_path) in str(w.message)] == []


def test_control_characters_in_a_name_are_escaped(tmp_path):
    name = "two\nlines \x1b[31mred\x07.png"
    message = refused(tmp_path / name)
    assert "two\\nlines \\x1b[31mred\\x07.png" in message
    (tmp_path / name).write_bytes(b"no image")
    assert "two\\nlines" in refused(tmp_path / name)
    Image.fromarray(rgb8()).save(tmp_path / name)
    assert read(tmp_path / name).name.endswith("two\\nlines \\x1b[31mred\\x07.png")


def test_name_that_is_not_utf8_is_read(tmp_path):
    path = os.fsencode(tmp_path) + b"/raw\xff.png"
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    assert read(os.fsdecode(path)).name.encode().endswith(b"raw\\udcff.png")


@pytest.mark.parametrize("convert", [os.fsdecode, os.fsencode])
def test_path_like_object_is_read(tmp_path, convert):
    class PathLike:
        def __fspath__(self):
            return convert(tmp_path / "a.png")

    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    assert read(PathLike()) == read(tmp_path / "a.png")


def test_loaded_image_is_frozen_and_compares_by_content():
    image, other = read(rgb8(0)), read(rgb8(1))
    assert image == read(rgb8(0)) != other
    with pytest.raises(AttributeError):
        image.name = "x"
    assert "tensor(" not in repr(image)
    assert isinstance(image, LoadedImage)


def test_concurrent_reads_restore_the_warning_filters(monkeypatch):
    decode, before = loading.decode, list(warnings.filters)

    def slow(*arguments):
        time.sleep(0.1)
        return decode(*arguments)

    monkeypatch.setattr(loading, "decode", slow)

    def reads(wait):
        time.sleep(wait)
        return read(Image.new("RGB", (20, 20)))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(reads, (0, 0.05)))
    assert warnings.filters == before


def test_stamp_changes_with_size_or_modification_time(tmp_path):
    path = tmp_path / "image.png"
    path.write_text("one")
    first = image_stamp(path)
    assert first == image_stamp(path) == image_stamp(path.parent / "." / path.name)
    path.write_text("three")
    assert image_stamp(path) != first
    path.write_text("two")
    os.utime(path, ns=(0, first[2] + 1))
    assert image_stamp(path) != first
    for missing in (path / "below", path.with_name("x" * 300), path.with_name("a\0b")):
        with pytest.raises(ImageError, match="does not exist|cannot be read"):
            image_stamp(missing)
