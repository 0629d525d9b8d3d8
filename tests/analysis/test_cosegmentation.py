import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import disc, iou
from PIL import Image

from vitsplice.analysis import cosegmentation
from vitsplice.analysis.cosegmentation import Cosegmentation, cosegment
from vitsplice.analysis.upsampling import upsample
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import encode_png, example, read


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Files of two discs, and their masks."""
    images, folder = [disc(), disc((58, 70), 42, seed=1)], tmp_path_factory.mktemp("discs")
    paths = [folder / f"disc{number}.png" for number in range(2)]
    for path, (image, _) in zip(paths, images, strict=True):
        path.write_bytes(encode_png(image))
    return paths, [labels > 0 for _, labels in images]


def find(paths, **options):
    return cosegment(paths, **({"backbone": "tiny-cnn", "size": 256, "parts": 2} | options))


@pytest.fixture(scope="module")
def result(discs):
    return find(discs[0])


@pytest.fixture(scope="module")
def of_first(result):
    """The result without the second image."""
    return replace(result, images=result.images[:1], labels=result.labels[:1])


def test_masks_have_the_size_of_the_images_and_cover_the_discs(discs, result):
    for number, mask in enumerate(discs[1]):
        segments = result.segments(number)
        assert segments.foreground.shape == (1, 128, 128)
        assert iou(segments.foreground[0] > 0.5, mask) > 0.6
        assert torch.equal(segments.labels > 0, segments.foreground[0] > 0.5)
        assert segments.overlay.shape == (3, 128, 128)


def test_pixel_is_background_if_at_least_half_of_it_is_and_else_has_the_label_of_the_largest_part(result):
    result = replace(result, labels=(torch.tensor([[0, 1, 4], [4, 2, 2]]),) * 2, parts=4)
    one_hot = torch.nn.functional.one_hot(result.labels[0], 5).permute(2, 0, 1).float()
    shares = upsample(one_hot, result.images[0].pixels)
    expected = torch.where(shares[0] < 0.5, shares[1:].argmax(0) + 1, 0)
    assert torch.equal(result.part_labels(0), expected)
    assert set(expected.unique().tolist()) == {0, 1, 2, 4}


def test_repr_is_one_short_line(result):
    assert re.fullmatch(r"Cosegmentation\(2 parts, foreground \d+%, \d+%, backbone 'tiny-cnn'\)", repr(result))


@pytest.mark.slow
def test_saved_files_hold_the_masks(result, tmp_path):
    assert cosegmentation.save(result, tmp_path / "out") == tmp_path / "out" / "cosegment.png"
    data = json.loads((tmp_path / "out" / "cosegment.json").read_text())
    assert data["files"] == [
        f"{n + 1}-disc{n}_{kind}.png" for n in (0, 1) for kind in ("foreground", "parts", "overlay")
    ]
    assert data["saliency"] == "distance from the border"
    with Image.open(tmp_path / "out" / "1-disc0_parts.png") as image:
        assert image.mode == "P"
        assert torch.equal(torch.from_numpy(np.array(image)), result.part_labels(0))
        assert bytes(image.getpalette()[3:6]).hex() == data["colours"]["1"].removeprefix("#")
    saved = read(tmp_path / "out" / "2-disc1_foreground.png").pixels[0]
    torch.testing.assert_close(saved, result.foreground(1).expand(3, -1, -1), atol=1 / 255, rtol=0)
    assert result._repr_png_() == (tmp_path / "out" / "cosegment.png").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("no_sheet")
def test_force_removes_files_of_the_earlier_call_and_no_other_file(result, of_first, tmp_path):
    cosegmentation.save(result, tmp_path / "out")
    (tmp_path / "out" / "mine_parts.png").write_text("mine")
    cosegmentation.save(of_first, tmp_path / "out", force=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cosegment.png", "cosegment.json", "mine_parts.png"} | {
        f"1-disc0_{kind}.png" for kind in ("foreground", "parts", "overlay")
    }


@pytest.mark.slow
@pytest.mark.usefixtures("no_sheet")
def test_force_removes_files_of_a_call_that_was_killed(result, of_first, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Cosegmentation, "sheet", property(lambda self: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            cosegmentation.save(result, tmp_path)
    assert list(tmp_path.glob("2-*"))
    cosegmentation.save(of_first, tmp_path, force=True)
    assert not list(tmp_path.glob("2-*"))


def test_only_inputs_that_would_be_replaced_or_removed_are_refused(tmp_path):
    file_of_second_input, listed, unlisted = (
        tmp_path / name for name in ("2-dog_parts.png", "9-cat_parts.png", "7-dog_parts.png")
    )
    (tmp_path / cosegmentation.DATA).write_text(json.dumps({"files": [listed.name]}))
    for inputs in ([file_of_second_input, tmp_path / "dog.jpg"], [listed], [tmp_path / cosegmentation.SHEET]):
        with pytest.raises(UserError, match="is an output file in .* and would be replaced or removed; move it"):
            cosegmentation.check_output(tmp_path, inputs, force=True)
    # now the second input is not named "dog"
    assert cosegmentation.check_output(tmp_path, [unlisted, file_of_second_input], force=True) == tmp_path


def test_files_that_would_be_replaced_are_refused_without_force(discs, tmp_path):
    (paths, _), out = discs, tmp_path / "out"
    out.mkdir()
    (out / "1-disc0_parts.png").write_text("edited")
    labels = torch.ones(2, 2, dtype=torch.int64)
    result = Cosegmentation((read(paths[0]),), (labels,), info=None, parts=2, clusters=None, size=64)
    for refused in (
        lambda: cosegmentation.check_output(out, paths, force=False),
        lambda: cosegmentation.save(result, out),
    ):
        with pytest.raises(OutputExists, match=r"already holds 1-disc0_parts\.png; choose another folder"):
            refused()
    assert (out / "1-disc0_parts.png").read_text() == "edited"
    assert cosegmentation.check_output(out, paths[1:], force=False) == out


@pytest.mark.parametrize(
    ("options", "message"),
    [({"parts": 0}, "1 to 20; it is 0"), ({"clusters": 1}, "at least 2"), ({"size": 0}, "size=0 is not allowed")],
)
def test_numbers_out_of_range_are_refused(discs, options, message):
    with pytest.raises(UserError, match=message):
        find(discs[0], **options)


def test_parts_have_distinct_colours_and_none_is_black():
    colours = cosegmentation.part_colours(cosegmentation.MAX_PARTS)
    assert len(set(colours)) == cosegmentation.MAX_PARTS
    assert all(max(colour) > 100 for colour in colours)


@pytest.mark.weights
def test_heads_of_cat_and_dog_are_the_foreground():
    result = cosegment(example("cat-dog"), backbone="dinov2-vits14-offline", parts=1, size=280)
    cat, dog = (result.foreground(number)[0] > 0.5 for number in (0, 1))
    (height, width), (dog_height, dog_width) = cat.shape, dog.shape
    assert cat[height // 2, width // 3]  # below an eye
    assert dog[dog_height // 3, dog_width // 2]  # the nose
    assert not cat[-height // 8 :, -width // 8 :].any()
    assert not dog[: dog_height // 8, : dog_width // 8].any()
