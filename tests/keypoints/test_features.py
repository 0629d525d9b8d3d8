import pytest
import torch

from tests.analysis.toys import Toy, colour
from tests.keypoints.layouts import write_image
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import ImageError, UserError, VitspliceError
from vitsplice.images.checks import check_size
from vitsplice.keypoints import KeypointImage
from vitsplice.keypoints import features as module
from vitsplice.keypoints.features import FeatureExtractor, SelectedFeatures, load_pixels, select_features, warped_side

ViT, CNN = "tiny-vit", "tiny-cnn"
MAP = FeatureRequest("map")
CPU = torch.device("cpu")


def select(backbones, facets, layers, *note):
    selected = select_features(backbones, facets, layers, CPU, *note)
    return {features.info.name: [str(request) for request in features.requests] for features in selected}


def test_available_facets_and_layers_are_selected_and_others_noted():
    notes = []
    assert select([ViT, CNN, ViT], ["key", "token", "map"], [-1, -2, -5], notes.append) == {
        ViT: ["key[-1]", "key[-2]", "token[-1]", "token[-2]"],
        CNN: ["map[-1]", "map[-2]", "map[-5]"],
    }
    assert notes == [f"{ViT} has no facet map, layer -5", f"{CNN} has no facet key, facet token"]


def test_defaults_are_the_structure_facet_and_all_layers():
    assert select([ViT, CNN], [], [-1]) == {ViT: ["key[-1]"], CNN: ["map[-1]"]}
    assert select([ViT], [], []) == {ViT: ["key[-3]", "key[-2]", "key[-1]"]}
    assert select([ViT], [], [0, -3]) == {ViT: ["key[-3]"]}


def test_single_backbone_is_loaded_once_and_several_are_loaded_at_each_change():
    (single,) = select_features([ViT], [], [-1], CPU)
    assert single.load() is single.load()
    first, second = select_features([ViT, CNN], [], [-1], CPU)
    loaded = first.load()
    assert (loaded.info.name, second.load().info.name) == (ViT, CNN)
    assert first.load() is not loaded


@pytest.mark.parametrize(
    ("backbones", "facets", "layers", "message"),
    [
        ([ViT], ["cls"], [-1], "is global"),
        ([ViT], ["kee"], [-1], "no facet kee; it has key, query, value, token"),
        ([ViT, CNN], ["key"], [-1], "'tiny-cnn' has no facet key; it has map"),
        ([ViT], [], [-4], "no layer -4; it has 0 to 2, which are also -3 to -1"),
        (["tiny-vitt"], [], [-1], "tiny-vit"),
    ],
)
def test_error_names_available_features(backbones, facets, layers, message):
    with pytest.raises(UserError, match=message):
        select(backbones, facets, layers)


@pytest.fixture
def read_names(monkeypatch):
    """The names of the image files that are read."""
    names, read = [], module.read
    monkeypatch.setattr(module, "read", lambda path: names.append(path.name) or read(path))
    return names


def toy_features(values, requests=(MAP,)):
    toy = Toy(values)
    return SelectedFeatures(toy.info, requests, lambda: toy)


def extractor(cache_bytes=module.CACHE_BYTES, values=colour, requests=(MAP,)):
    return FeatureExtractor(toy_features(values, requests), 64, CPU, cache_bytes)


def write_images(folder, number):
    return [KeypointImage(write_image(folder / f"{n}.png", n)) for n in range(number)]


@pytest.mark.parametrize(
    ("cache_bytes", "order", "expected"),
    [(module.CACHE_BYTES, [0, 1, 2, 0, 1, 2], [0, 1, 2]), (0, [0, 1, 0, 1, 2, 1, 0], [0, 1, 2, 0])],
)
def test_cache_holds_at_least_two_images(tmp_path, read_names, cache_bytes, order, expected):
    images = write_images(tmp_path, 3)
    extract = extractor(cache_bytes)
    for index in order:
        extract(images[index])
    assert read_names == [f"{n}.png" for n in expected]


def test_cache_holds_the_images_used_last(tmp_path, read_names):
    images = write_images(tmp_path, 6)
    extract = extractor(cache_bytes=3 * extractor()(images[0]).nbytes)
    read_names.clear()
    for image in [*images, *images[-3:]]:
        extract(image)
    assert read_names == [f"{n}.png" for n in range(6)]
    extract(images[2])
    assert read_names[-1] == "2.png"


def test_extraction_gives_sizes_and_all_requested_features(tmp_path):
    requests = (MAP, FeatureRequest("map", -2))
    features = extractor(requests=requests)(KeypointImage(write_image(tmp_path / "a.png", height=50, width=100)))
    assert (features.size, features.input_size) == ((50, 100), (48, 88))
    assert [features.features[request].grid for request in requests] == [(12, 22), (6, 11)]
    assert features.norms(MAP).shape == (48, 88)
    assert features.nbytes >= 4 * (12 * 22 * 3 + 6 * 11 * 3 + 2 * 48 * 88)


def test_warp_and_appearance_transform_are_applied(tmp_path):
    path = write_image(tmp_path / "a.png", height=50, width=100)
    original, flipped = (load_pixels(KeypointImage(path, warp), 50) for warp in ("", "flip"))
    assert torch.allclose(original.flip(3), flipped, atol=1e-4)
    grey = load_pixels(KeypointImage(path, "flip", "grey"), 50)
    assert torch.allclose(grey[:, 0], grey[:, 2])
    assert (grey - flipped).abs().max() > 0.1


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (120, 1200, 448, 448),
        (120, 1200, 2048, 1638),  # the longer side has the maximum, 16384 px
        (1200, 120, 2048, 1638),
        (32, 1024, 2048, 512),
        (90, 80, 9000, 7542),  # the area has the maximum, 64 megapixels
    ],
)
def test_long_images_are_warped_within_the_limits_of_images(height, width, size, expected):
    side = warped_side(height, width, size)
    assert side == expected
    check_size("warped", *(round(length * side / min(height, width)) for length in (width, height)))


def test_image_size_that_differs_from_the_annotation_is_refused(tmp_path):
    path = write_image(tmp_path / "a.png", height=50, width=100)
    assert extractor()(KeypointImage(path, size=(50, 100))).size == (50, 100)
    with pytest.raises(ImageError, match=r"is 100x50 px \(width x height\), but its annotation is for 50x100"):
        extractor()(KeypointImage(path, size=(100, 50)))


def test_backbone_that_returns_nan_is_refused(tmp_path):
    with pytest.raises(VitspliceError, match=r"NaN or infinite values for map\[-1\]"):
        extractor(values=lambda images: images / 0 - images / 0)(KeypointImage(write_image(tmp_path / "a.png")))
