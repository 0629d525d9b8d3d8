import json
import shutil

import pytest
import torch
from tiny_models import write_tiny_model

from vitsplice import load_model
from vitsplice.analysis import modes
from vitsplice.datasets.similarity import appearance_features
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import encode_png, read
from vitsplice.images.encode import CAPTION_HEIGHT, GAP
from vitsplice.support.progress import NULL_REPORTER

from ..conftest import noise

COLOURS = ((0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.1, 0.2, 0.9))
CACHE = "features.jsonl"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Nine images of three colours, five of the first."""
    folder = tmp_path_factory.mktemp("modes") / "photos"
    folder.mkdir()
    for number, colour in enumerate((0, 1, 0, 2, 0, 1, 0, 2, 0)):
        pixels = torch.tensor(COLOURS[colour])[:, None, None] + 0.05 * noise(3, 32, 32, seed=number)
        (folder / f"{number}.png").write_bytes(encode_png(pixels.clamp(0, 1)))
    return folder


def find(photos, k=3, cache=None):
    return modes.appearance_modes(sorted(photos.iterdir()), k, cache or photos.parent / CACHE, backbone="tiny-vit")


@pytest.fixture(scope="module")
def result(photos):
    """Three modes of the images."""
    return find(photos)


@pytest.mark.slow
def test_images_of_one_colour_are_one_mode_and_the_largest_is_first(result):
    groups = [sorted(path.stem for path in mode.images) for mode in result.modes]
    assert groups == [["0", "2", "4", "6", "8"], ["1", "5"], ["3", "7"]]


@pytest.mark.slow
def test_images_of_a_mode_are_in_the_order_of_their_distances_from_its_centre(photos, vit):
    result, cpu = find(photos, k=2), torch.device("cpu")
    features, _ = appearance_features(sorted(photos.iterdir()), vit, cpu, photos.parent / CACHE, NULL_REPORTER)
    for mode in result.modes:
        vectors = torch.stack([torch.tensor(features[path].values) for path in mode.images]).double()
        points = torch.nn.functional.normalize(vectors, dim=-1)
        assert list(mode.distances) == sorted(mode.distances)
        assert (points - points.mean(0)).norm(dim=-1).tolist() == pytest.approx(mode.distances, abs=1e-9)


@pytest.mark.slow
def test_modes_from_cached_features_are_the_same(photos, tmp_path):
    cache = tmp_path / CACHE
    first, cached = find(photos, cache=cache), cache.read_bytes()
    assert find(photos, cache=cache) == first
    assert cache.read_bytes() == cached


@pytest.mark.slow
def test_one_mode_for_each_image_is_allowed_and_more_are_refused(photos):
    assert len(find(photos, k=9).modes) == 9
    with pytest.raises(UserError, match="10 modes need at least 10 images, not 9"):
        find(photos, k=10)


def test_an_image_that_is_given_twice_counts_once(photos):
    images = [photos / name for name in ("0.png", "0.png", "1.png")]
    with pytest.raises(UserError, match="3 modes need at least 3 images, not 2"):
        modes.appearance_modes(images, 3, photos.parent / CACHE, backbone="tiny-vit")


def test_a_number_of_modes_below_1_is_refused(photos):
    with pytest.raises(UserError, match="k=0 is not allowed; it must be at least 1"):
        find(photos, k=0)


@pytest.mark.slow
def test_unreadable_images_are_skipped(photos, tmp_path):
    photos = shutil.copytree(photos, tmp_path / "photos")
    (photos / "x.png").write_bytes(b"corrupt")
    result = find(photos)
    assert len(result.skipped) == 1
    assert sum(len(mode.images) for mode in result.modes) == 9
    with pytest.raises(UserError, match="10 modes need at least 10 images; 9 of the 10 images can be read"):
        find(photos, k=10)


@pytest.mark.slow
def test_sheet_json_and_outputs_are_written(photos, result, tmp_path):
    write_tiny_model(tmp_path / "model")
    model = load_model(tmp_path / "model")
    outputs = modes.outputs_of(model, photos / "0.png", result)
    assert outputs[1].equal(model(photos / "0.png", result.modes[1].images[0])[0])
    path = modes.save(result, tmp_path / "out", outputs)
    assert read(path).pixels.shape[2] == 3 * (modes.HEIGHT + CAPTION_HEIGHT + GAP)
    data = json.loads((tmp_path / "out" / "modes.json").read_text())
    assert [len(mode["images"]) for mode in data["modes"]] == [5, 2, 2]
    assert data["backbone"] == "tiny-vit"
    assert (tmp_path / "out" / "mode-3.png").is_file()
    with pytest.raises(OutputExists):
        modes.save(result, tmp_path / "out")


def test_an_image_that_is_given_by_several_paths_counts_once_by_the_first(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    images = [photos / "0.png", tmp_path / "link" / "0.png", photos / ".." / "photos" / "0.png", photos / "1.png"]
    result = modes.appearance_modes(images, 1, tmp_path / CACHE, backbone="tiny-vit")
    assert sorted(result.modes[0].images) == [photos / "0.png", photos / "1.png"]


def test_a_folder_of_the_images_is_refused_as_the_output_folder(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    for folder in (photos, tmp_path / "link", photos / "."):
        with pytest.raises(
            UserError, match=r"is a folder of the images, and modes\.png would be read as input .*; choose another"
        ):
            modes.check_output(folder, [photos.parent, photos], force=True)
    assert modes.check_output(photos / "modes", [photos], force=False) == photos / "modes"
    assert modes.check_output(photos, [photos / "0.png"], force=False) == photos


def test_only_inputs_that_would_be_replaced_or_removed_are_refused(tmp_path):
    (tmp_path / modes.DATA).write_text(json.dumps({"files": ["mode-9.png"]}))
    for name, outputs in (("mode-2.png", 2), ("mode-9.png", 0), (modes.SHEET, 0)):
        with pytest.raises(UserError, match=f"{name} is an output file in .* and would be replaced or removed"):
            modes.check_output(tmp_path, [tmp_path / name], outputs, force=True)
    assert modes.check_output(tmp_path, [tmp_path / "mode-3.png"], 2, force=True) == tmp_path


def test_saving_refuses_to_replace_an_image_of_a_mode(tmp_path, vit):
    image = tmp_path / "mode-1.png"
    image.write_bytes(content := encode_png(noise(3, 32, 32)))
    result = modes.AppearanceModes((modes.Mode((image,), (0.0,)),), vit.info, {image: ""})
    with pytest.raises(UserError, match=r"mode-1\.png is an output file in .* and would be replaced or removed"):
        modes.save(result, tmp_path, [torch.zeros(3, 8, 8)], force=True)
    assert image.read_bytes() == content


def test_an_output_folder_with_a_nul_is_refused(tmp_path):
    with pytest.raises(UserError, match="NUL"):
        modes.check_output(f"{tmp_path}/a\0b", [tmp_path], force=True)


@pytest.mark.slow
def test_files_that_would_be_replaced_are_refused_without_force(photos, tmp_path):
    (tmp_path / "mode-2.png").write_text("mine")
    outputs, result = [torch.zeros(3, 8, 8)] * 2, find(photos, k=2)
    for refused in (
        lambda: modes.check_output(tmp_path, [], 2, force=False), lambda: modes.save(result, tmp_path, outputs)
    ):  # fmt: skip
        with pytest.raises(OutputExists, match=r"already holds mode-2\.png; choose another folder, or replace"):
            refused()
    assert (tmp_path / "mode-2.png").read_text() == "mine"
    assert modes.check_output(tmp_path, [], 1, force=False) == tmp_path


@pytest.mark.slow
def test_force_removes_outputs_of_a_call_that_was_killed(result, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def write_and_fail(folder, files):
        for name, data in files.items():
            (folder / name).write_bytes(data)
            if (folder / "mode-3.png").exists():
                raise KeyboardInterrupt

    monkeypatch.setattr(modes, "sheet", lambda *arguments: noise(3, 8, 8))
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(modes.output_folder, "write", write_and_fail)
        with pytest.raises(KeyboardInterrupt):
            modes.save(result, out, [noise(3, 8, 8)] * 3)
    modes.save(result, out, force=True)
    assert not list(out.glob("mode-*"))
