import json

import pytest
import torch
import vitsplice_tiny

from tests.conftest import noise
from vitsplice.analysis import pca
from vitsplice.contracts import layer_file_label
from vitsplice.errors import PathRejected
from vitsplice.images import encode_png, read


def test_maps_are_kept_as_small_as_they_are_and_shown_as_large_as_their_images(png):
    found = pca.look(png, backbone="tiny-vit", size=64)
    for number, path in enumerate(png):
        pixels = read(path).pixels
        for layer in (-3, -2, -1):
            assert found.maps[layer][number].shape[1] < 64
            assert found.shown(layer, number).shape == pixels.shape[1:]


def test_a_sheet_of_a_large_image_is_no_larger_than_one_of_a_small(tmp_path):
    sizes = []
    for side in (180, 1200):
        path = tmp_path / f"{side}.png"
        path.write_bytes(encode_png(noise(1, 3, side, side)))
        sizes.append(pca.look([path], backbone="tiny-vit", size=32).sheet.shape)
    assert sizes[0] == sizes[1]


def test_forced_the_maps_of_another_time_go_and_nothing_else(png, tmp_path):
    pca.save(pca.look(png, backbone="tiny-vit", size=64), tmp_path)
    (tmp_path / "mine-layer-1.png").write_text("mine")
    pca.save(pca.look(png[:1], backbone="tiny-vit", size=64, layer=2), tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir() if "layer" in path.name} == {
        "1-structure_layer_2.png", "mine-layer-1.png",
    }  # fmt: skip


def test_many_layers_go_on_in_another_row(png, monkeypatch):
    whole = pca.look(png[:1], backbone="tiny-vit", size=64).sheet
    monkeypatch.setattr(pca, "ACROSS", 2)
    folded = pca.look(png[:1], backbone="tiny-vit", size=64).sheet
    assert folded.shape[1] == 2 * whole.shape[1]
    assert folded.shape[2] < whole.shape[2]


@pytest.mark.parametrize("edges", [True, False])
def test_files_show_what_the_result_shows(png, tmp_path, edges):
    found = pca.look(png[:1], backbone="tiny-cnn", layer=-1, size=64, edges=edges)
    assert pca.save(found, tmp_path / "out") == tmp_path / "out" / pca.SHEET
    shown = read(tmp_path / "out" / "1-structure_layer_4.png").pixels[0]
    torch.testing.assert_close(shown, found.shown(-1, 0), atol=1 / 255, rtol=0)
    assert found._repr_png_() == (tmp_path / "out" / pca.SHEET).read_bytes()


def test_what_a_folder_says_of_its_maps_removes_no_other_file(png, tmp_path, victim):
    out = tmp_path / "out"
    pca.save(pca.look(png[:1], backbone="tiny-vit", size=64, layer=2), out)
    mine = tmp_path / "out" / "mine.png"
    mine.write_text("mine")
    names = ["mine.png", f"../../{victim.name}/output.png", str(victim / "output.png"), "../1-a_layer_-1.png", 5, None]
    (out / pca.NUMBERS).write_text(json.dumps({"files": names}))
    pca.save(pca.look(png[:1], backbone="tiny-vit", size=64, layer=2), out, force=True)
    assert mine.read_text() == "mine"
    (out / pca.SHEET).unlink()
    (out / pca.SHEET).symlink_to(victim / "output.png")
    with pytest.raises(PathRejected, match="leads out of"):
        pca.save(pca.look(png[:1], backbone="tiny-vit", size=64, layer=2), out, force=True)


def test_layers_are_in_order_of_depth_and_have_both_numbers(tmp_path, png):
    deep = vitsplice_tiny.tiny_vit(depth=11).info
    assert [layer_file_label(layer, deep.layers) for layer in (-11, -2, -1)] == ["layer_00", "layer_09", "layer_10"]
    found = pca.look(png[:1], backbone="tiny-vit", size=64)
    assert [caption.partition(":")[0] for caption, _ in next(found._rows(0))[1:]] == [
        "key at layer 0 (-3)", "key at layer 1 (-2)", "key at layer 2 (-1)",
    ]  # fmt: skip
    assert torch.equal(pca.look(png[:1], backbone="tiny-vit", size=64, layer=1).maps[-2][0], found.maps[-2][0])
