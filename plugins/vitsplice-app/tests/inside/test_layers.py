"""The tab Layers without a browser: component maps, similarities, and the handlers of its events."""

import errno

import gradio as gr
import pytest
from vitsplice_app.context import AppContext
from vitsplice_app.inside import layers, layers_tab
from vitsplice_app.inside.layers import BACKBONE_FACET, compute

from tests.conftest import write_pair
from vitsplice.analysis.local_features import heat_map, similarity_map
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.images import example, read, to_pil


@pytest.fixture
def images(tmp_path):
    return [str(path) for path in write_pair(tmp_path)]


def view_of(images, workspace, backbone="tiny-vit", facet=BACKBONE_FACET, size=64):
    return compute(images, backbone, facet, size, workspace)


def test_every_layer_has_a_caption_and_a_file_for_each_image(images, workspace):
    view = view_of(images, workspace)
    assert [caption.partition(":")[0] for caption in view.captions] == [
        "key at layer 0 (-3)", "key at layer 1 (-2)", "key at layer 2 (-1)",
    ]  # fmt: skip
    assert len({path for paths in view.maps for path in paths}) == 6
    for paths in view.maps:
        for path, image in zip(paths, view.images, strict=True):
            assert read(path).pixels.shape == image.shape
            assert path.startswith(str(workspace.files))


def test_similarity_is_that_of_the_python_interface_with_the_patch_outlined(images, workspace):
    view = view_of(images, workspace)
    features = view.features.features[-2]
    first, second = view.similarity(1, (2, 3))
    expected = heat_map(similarity_map(features[0], (2, 3), features[0]), view.images[0], patch=(2, 3))
    assert first.tobytes() == to_pil(expected).tobytes()
    assert (
        second.tobytes() == to_pil(heat_map(similarity_map(features[0], (2, 3), features[1]), view.images[1])).tobytes()
    )


@pytest.mark.slow
def test_patch_of_the_last_layer_is_at_the_same_location_on_a_finer_grid(images, workspace):
    view = view_of(images[:1], workspace, "tiny-cnn")
    finest = view.features.features[-view.features.info.layers][0]
    rows, columns = finest.grid
    assert rows > view.grid[0]
    centre = round((0.5 / view.grid[0]) * rows - 0.5), round((0.5 / view.grid[1]) * columns - 0.5)
    expected = heat_map(similarity_map(finest, centre, finest), view.images[0], patch=centre)
    assert view.similarity(0, (0, 0))[0].tobytes() == to_pil(expected).tobytes()


def test_click_selects_the_patch_under_it(images, workspace):
    view = view_of(images, workspace)
    height, width = view.images[0].shape[-2:]
    assert view.patch_at(0, 0) == (0, 0)
    assert view.patch_at(width - 1, height - 1) == (view.grid[0] - 1, view.grid[1] - 1)


@pytest.mark.slow
def test_typed_number_selects_the_nearest_layer_and_patch(build_page, images, workspace):
    page = build_page(lambda: layers_tab.build(AppContext(workspace)))
    handlers = {event.name: event.fn for event in page.fns.values()}
    show_layer, show_patch = handlers["show_layer"], handlers["show_patch"]
    sliders = [block for block in page.blocks.values() if isinstance(block, gr.Slider) and block.step == 1]
    # the sliders of layer, row and column: Gradio's own check would refuse 99
    assert [slider.preprocess(value) for slider in sliders for value in (99, None)] == [99, None] * 3
    view = view_of(images[:1], workspace)
    rows = view.grid[0]
    for typed, (layer, *patch) in (((99, 99, 0.6), (2, rows - 1, 1)), ((-1, None, -5), (0, 0, 0))):
        expected = view.similarity(layer, tuple(patch))[0]
        assert show_layer(view, *typed)[sliders[0]]["label"] == view.captions[layer]
        assert [update["value"] for update in show_patch(view, *typed).values() if "value" in update][-1] == expected


def test_files_are_removed_if_one_cannot_be_written(images, workspace, monkeypatch):
    def disk_full(folder, name, pixels):
        (folder / f"{name}.jpg").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layers, "_write", disk_full)
    with pytest.raises(OSError, match="No space"):
        view_of(images, workspace)
    assert not list(workspace.files.iterdir())


@pytest.mark.slow
def test_files_of_a_view_that_is_replaced_or_expires_are_removed(build_page, images, workspace):
    page = build_page(lambda: layers_tab.build(AppContext(workspace)))
    compute_all = next(event.fn for event in page.fns.values() if event.name == "compute_and_show")
    state = next(block for block in page.blocks.values() if isinstance(block, gr.State))
    state.delete_callback(None)  # as Gradio calls it if a handler read the state after it expired
    view = None
    for _ in range(2):
        view = compute_all(view, images[0], None, "tiny-vit", BACKBONE_FACET, 64)[state]
        assert list(workspace.files.glob("layers-*")) == [view.folder]
    state.delete_callback(view)
    assert not list(workspace.files.glob("layers-*"))


def test_second_image_alone_is_used(images, workspace):
    assert view_of([None, images[1]], workspace).features.images == (read(images[1]),)


def test_unusable_input_is_reported(images, workspace, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match="there is no image; drop, paste or choose one"):
        view_of([None, None], workspace)
    with pytest.raises(ImageError, match=r"broken\.png"):
        view_of([str(tmp_path / "broken.png"), None], workspace)
    with pytest.raises(ConfigError, match="no facet 'map'; it has"):
        view_of(images, workspace, facet="map")


@pytest.mark.weights
def test_patches_most_similar_to_an_eye_are_eyes(workspace, monkeypatch):
    monkeypatch.setattr(layers, "_write_maps", lambda *_: ())  # the test does not look at the component maps
    view = view_of(list(map(str, example("cat-dog"))), workspace, "dinov2-vits14-offline", size=224)
    (height, width), cat, dog = view.images[0].shape[-2:], *view.features.features[-4]
    eye = view.patch_at(0.41 * width, 0.4 * height)
    within, across = (similarity_map(cat, eye, other).flatten().topk(4).indices.tolist() for other in (cat, dog))
    assert divmod(within[0], view.grid[1]) == eye
    assert (7, 16) in [divmod(patch, view.grid[1]) for patch in within]  # the other eye
    assert {divmod(patch, dog.grid[1]) for patch in across[:2]} == {(3, 6), (4, 10)}  # both eyes of the dog
