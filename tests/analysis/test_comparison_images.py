import pytest
import torch
from PIL import Image
from vitsplice_tiny import tiny_vit

from tests.conftest import noise
from vitsplice.analysis import comparison_images
from vitsplice.analysis.comparison_images import ComparedImage, center_square, image_sources, with_styles
from vitsplice.contracts import FeatureRequest
from vitsplice.engine import backbones
from vitsplice.engine.backbones import load_backbone
from vitsplice.errors import UserError
from vitsplice.images import encode_png
from vitsplice.presets.settings import settings_for
from vitsplice.support.progress import ProgressReporter


def test_center_square_crops_the_sides_of_a_wide_image():
    image = noise(1, 3, 40, 60)
    torch.testing.assert_close(center_square(image, 40), image[..., 10:50])


def test_labels_are_cropped_like_the_image(tmp_path):
    image, masks = tmp_path / "a.png", tmp_path / "masks"
    masks.mkdir()
    image.write_bytes(encode_png(noise(3, 40, 60)))
    mask = torch.zeros(3, 40, 60)
    mask[..., 30:] = 1
    (masks / "a.jpg.png").write_bytes(encode_png(mask))  # the mask of another image, a.jpg
    assert image_sources([image], masks, 40)[0].load().labels is None
    (masks / "a.png").write_bytes(encode_png(mask))
    labels = image_sources([image], masks, 40)[0].load().labels
    assert labels.shape == (40, 40)
    assert labels[:, :20].unique().tolist() == [0]
    assert labels[:, 20:].unique().tolist() == [1]


def test_other_files_are_no_masks_and_several_masks_are_refused(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (tmp_path / "a.png", masks / "a.png"):
        path.write_bytes(encode_png(noise(3, 40, 60)))
    (masks / "a.json").write_text("{}")
    (source,) = image_sources([tmp_path / "a.png"], masks, 40)
    assert source.mask == masks / "a.png"
    (masks / "a.jpg").write_bytes((masks / "a.png").read_bytes())
    with pytest.raises(UserError, match="has several masks"):
        image_sources([tmp_path / "a.png"], masks, 40)


# the central square of the mask has 3 of 5 levels
@pytest.mark.parametrize(("levels", "labels"), [(5, 3), (40, 2)])
def test_masks_of_many_grey_levels_are_thresholded_and_those_of_few_are_not(tmp_path, levels, labels):
    masks = tmp_path / "masks"
    masks.mkdir()
    grey = encode_png(torch.linspace(0, 1, levels).repeat_interleave(80 // levels).expand(3, 40, -1))
    for path in (tmp_path / "a.png", masks / "a.png"):
        path.write_bytes(grey)
    (source,) = image_sources([tmp_path / "a.png"], masks, 160)
    assert len(source.load().labels.unique()) == labels


def test_colours_of_equal_brightness_are_different_labels(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    colours = encode_png(torch.eye(3)[:, None].repeat_interleave(20, 2).expand(3, 40, 60))
    for path in (tmp_path / "a.png", masks / "a.png"):
        path.write_bytes(colours)
    (source,) = image_sources([tmp_path / "a.png"], masks, 40)
    left, centre, right = (source.load().labels[:, columns].unique() for columns in ([0, 9], [10, 29], [30, 39]))
    assert len({int(left), int(centre), int(right)}) == 3


def test_masks_of_images_with_equal_names_are_in_subfolders(tmp_path):
    images = [tmp_path / folder / "a.png" for folder in "xy"]
    masks = tmp_path / "masks"
    for number, image in enumerate(images):
        image.parent.mkdir()
        image.write_bytes(encode_png(noise(3, 40, 40, seed=number)))
    (masks / "y").mkdir(parents=True)
    (masks / "y" / "a.png").write_bytes(encode_png((noise(3, 40, 40) > 0.5).float()))
    assert [source.mask for source in image_sources(images, masks, 40)] == [None, masks / "y" / "a.png"]
    (masks / "a.png").write_bytes(encode_png(noise(3, 40, 40)))
    with pytest.raises(UserError, match="fits several images; rename the mask of .*x/a.png"):
        image_sources(images, masks, 40)


def test_an_image_given_twice_is_refused_as_such_also_with_masks(tmp_path):
    image, masks = tmp_path / "a.png", tmp_path / "masks"
    masks.mkdir()
    for path in (image, masks / "a.png"):
        path.write_bytes(encode_png(noise(3, 40, 40)))
    with pytest.raises(UserError, match="duplicate image: .* are equal images"):
        image_sources([image, image], masks, 40)


def test_equal_pixels_in_another_format_are_a_duplicate_and_in_another_shape_are_not(tmp_path):
    images = [tmp_path / name for name in ("a.png", "b.bmp")]
    images[0].write_bytes(encode_png(noise(3, 40, 60)))
    Image.open(images[0]).save(images[1])
    with pytest.raises(UserError, match="duplicate image: a and b are equal images"):
        image_sources(images, None, 40)
    white = [tmp_path / name for name in ("wide.png", "tall.png")]
    for path, size in zip(white, ((40, 60), (60, 40)), strict=True):
        path.write_bytes(encode_png(torch.ones(3, *size)))
    assert len(image_sources(white, None, 40)) == 2


@pytest.mark.slow
def test_styled_image_of_a_fallback_is_computed_again_with_other_weights(tmp_path, png, monkeypatch):
    preset = tmp_path / "fallback.yaml"
    preset.write_text("backbone: {name: tiny-gone, fallback: [tiny-vit]}\nstart: match\nsteps: 0\nmatch: {grid: 4}\n")
    settings, sources, notes = settings_for(str(preset), overrides=["metrics=none"]), image_sources(png, None, 40), []
    progress = ProgressReporter(note=notes.append)
    first, again = (with_styles(sources, settings, tmp_path / "styled", progress) for _ in range(2))
    assert first == again
    assert all("style': backbone 'tiny-gone' is unavailable, so 'tiny-vit' is used" in note for note in notes)
    assert len(notes) == 2
    monkeypatch.setattr(backbones, "load_configured", lambda config, known: (load_backbone("tiny-cnn"), None))
    other = with_styles(sources, settings, tmp_path / "styled", progress)
    assert not {source.styled for source in other} & {source.styled for source in first}


def test_styled_image_is_computed_again_with_other_features_of_the_same_weights(tmp_path, png, monkeypatch):
    monkeypatch.setattr(comparison_images, "_write_styled", lambda *_: True)
    settings, sources, styled = settings_for("tiny"), image_sources(png, None, 40), []
    for facet in ("key", "query", "key"):
        vit = tiny_vit(structure=FeatureRequest(facet))
        monkeypatch.setattr(backbones, "load_configured", lambda config, known, vit=vit: (vit, None))
        styled.append([source.styled for source in with_styles(sources, settings, tmp_path, ProgressReporter())])
    assert styled[0] == styled[2] != styled[1]


def test_only_styled_images_that_cannot_be_read_are_computed_again(tmp_path, png, monkeypatch):
    written = []

    def write(file, *_):
        written.append(file)
        file.write_bytes(png[0].read_bytes())
        return True

    monkeypatch.setattr(comparison_images, "_write_styled", write)
    settings, sources = settings_for("tiny"), image_sources(png, None, 40)
    first, second = with_styles(sources, settings, tmp_path, ProgressReporter())
    first.styled.write_bytes(png[0].read_bytes()[:50])
    with_styles(sources, settings, tmp_path, ProgressReporter())
    assert written == [first.styled, second.styled, first.styled]


def test_digest_depends_on_all_pixels_and_labels_but_not_on_the_name():
    image, other, labels = noise(1, 3, 64, 64), noise(1, 3, 64, 64, seed=1), (noise(64, 64) > 0.5).long()
    images = [(image,), (other,), (image, other), (image, None, labels)]
    assert len({ComparedImage("a", *tensors).digest for tensors in images}) == 4
    assert ComparedImage("b", image).digest == ComparedImage("a", image).digest
