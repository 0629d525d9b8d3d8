import json
import re
from dataclasses import replace

import pytest
import torch
from discs import disc

from tests.conftest import noise
from vitsplice.analysis import pca
from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.analysis.pca import principal_components
from vitsplice.contracts import Features, layer_file_label
from vitsplice.engine.backbones import load_configured
from vitsplice.errors import OutputExists, PathRejected, UserError
from vitsplice.images import encode_png, read


def three_parts(height=8, width=10, prefix=1):
    """Features of a left part, a right part and a corner, with a little noise and prefix tokens."""
    maps = torch.zeros(height, width, 16)
    maps[:, : width // 2, 0] = 1
    maps[:, width // 2 :, 1] = 1
    maps[:2, :2] = torch.eye(16)[2]
    values = torch.cat([torch.full((prefix, 16), 9.0), (maps + 0.02 * noise(height, width, 16)).flatten(0, 1)])
    return Features(values[None], (height, width), prefix)


def test_parts_have_distinct_colours():
    ((maps,), _) = principal_components([three_parts()])
    assert maps.shape == (3, 8, 10)
    left, right, corner = maps[:2, 4:, :5], maps[:2, 4:, 5:], maps[:2, :2, :2]  # three parts span two components
    for first, second in ((left, right), (left, corner), (right, corner)):
        within = max(first.flatten(1).std(1).max(), second.flatten(1).std(1).max())
        assert (first.flatten(1).mean(1) - second.flatten(1).mean(1)).abs().max() > 4 * within


def test_variances_and_first_component_agree_with_the_svd_of_the_self_similarity():
    features = three_parts()
    rows = torch.nn.functional.normalize(features.patches[0].double(), dim=-1)
    rows = rows @ rows.T
    _, singular, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    (maps,), explained_variance = principal_components([features])
    expected = (singular.square() / singular.square().sum())[:3].float()
    torch.testing.assert_close(explained_variance, expected, atol=1e-5, rtol=1e-4)
    scores = (rows - rows.mean(0)) @ vectors[0]
    assert torch.corrcoef(torch.stack([scores.float(), maps[0].flatten()]))[0, 1].abs() > 0.95


def test_colours_do_not_depend_on_the_order_of_patches():
    features = three_parts(prefix=0)
    reversed_features = Features(features.values.flip(1), features.grid)
    maps, reversed_maps = (principal_components([f])[0][0] for f in (features, reversed_features))
    torch.testing.assert_close(reversed_maps.flip(1, 2), maps, atol=1e-4, rtol=0)


def test_colours_do_not_depend_on_the_sign_of_features():
    features = three_parts(prefix=0)
    negated = Features(-features.values, features.grid)
    maps, maps_of_negated = (principal_components([f], "features")[0][0] for f in (features, negated))
    torch.testing.assert_close(maps, maps_of_negated, atol=1e-4, rtol=0)


def test_images_share_their_colours():
    maps, _ = principal_components([three_parts(), three_parts(6, 6)])
    assert [tuple(m.shape) for m in maps] == [(3, 8, 10), (3, 6, 6)]
    for column in (1, -1):
        first, second = (m[:, 5, column] for m in maps)
        assert (first - second).abs().max() < 0.15


def test_components_of_a_foreground_equal_those_of_its_patches_alone():
    features, mask = three_parts(), torch.zeros(8, 10, dtype=torch.bool)
    mask[:, :5] = True
    left = Features(features.maps[..., :5].flatten(2).transpose(1, 2), (8, 5))
    (maps,), variance = principal_components([features], masks=[mask])
    (alone,), expected = principal_components([left])
    assert torch.equal(maps[:, :, :5], alone)
    assert torch.equal(variance, expected)
    assert not maps[:, :, 5:].any()


def test_fewer_than_three_components_leave_channels_black():
    features = three_parts()
    (maps,), variance = principal_components(
        [Features(features.values[..., :2], features.grid, features.prefix)], "features"
    )
    assert maps.shape == (3, 8, 10)
    assert len(variance) == 2
    assert maps[:2].any()
    assert not maps[2].any()


def test_an_unknown_decomposition_no_image_and_empty_masks_are_refused():
    with pytest.raises(UserError, match="give at least one image"):
        principal_components([])
    with pytest.raises(UserError, match=r"'self_similarity' is not allowed; choose self-similarity or features"):
        principal_components([three_parts()], "self_similarity")
    with pytest.raises(UserError, match="the masks exclude every patch"):
        principal_components([three_parts()], masks=[torch.zeros(8, 10, dtype=torch.bool)])


def test_decomposing_features_differs_from_decomposing_their_self_similarity():
    (maps,), explained_variance = principal_components([three_parts()], "features")
    assert 0.5 < explained_variance.sum() <= 1.0  # the remainder is noise
    assert not torch.equal(maps, principal_components([three_parts()])[0][0])


def test_maps_are_smaller_than_the_input_and_upsampled_maps_have_image_size(png):
    maps = pca.pca(png, backbone="tiny-vit", size=64)
    for number, path in enumerate(png):
        pixels = read(path).pixels
        for layer in (-3, -2, -1):
            assert maps.maps[layer][number].shape[1] < 64
            assert maps.upsampled(layer, number).shape == pixels.shape[1:]


def test_background_is_black_and_foreground_is_not(tmp_path):
    path = tmp_path / "disc.png"
    path.write_bytes(encode_png(disc()[0]))
    colours = pca.pca([path], backbone="tiny-cnn", layer=-3, size=128, foreground=True).upsampled(-3, 0)
    assert colours[:, 2, 2].max() == 0
    assert colours[:, 64, 64].min() > 0.1


def test_notes_on_the_foreground_are_reported(monkeypatch):
    def noted(*arguments, **options):
        return replace(cosegment(*arguments, **options), notes=("the second image has no foreground",))

    monkeypatch.setattr(pca, "cosegment", noted)
    maps = pca.pca([disc()[0]], backbone="tiny-cnn", layer=-3, size=128, foreground=True)
    assert maps.notes == ("the second image has no foreground",)


def test_maps_and_foreground_share_one_load_of_the_backbone(monkeypatch):
    loads = []
    monkeypatch.setattr("vitsplice.engine.backbones.load_configured", lambda *a: loads.append(a) or load_configured(*a))
    pca.pca([disc()[0]], backbone="tiny-cnn", layer=-3, size=128, foreground=True)
    assert len(loads) == 1


@pytest.mark.slow
def test_sheet_size_does_not_depend_on_image_size():
    images = (noise(1, 3, side, side) for side in (180, 500))
    small, large = (pca.pca([image], backbone="tiny-vit", layer=-1, size=32).sheet for image in images)
    assert small.shape == large.shape


def test_many_layers_wrap_to_another_row(png, monkeypatch):
    maps = pca.pca(png[:1], backbone="tiny-vit", size=64)
    one_row = maps.sheet
    monkeypatch.setattr(pca, "COLUMNS", 2)
    two_rows = maps.sheet
    assert two_rows.shape[1] == 2 * one_row.shape[1]
    assert two_rows.shape[2] < one_row.shape[2]


def test_files_sort_by_depth_and_captions_show_both_numbers_of_a_layer(png):
    assert [layer_file_label(layer, 11) for layer in (-11, -2, -1)] == ["layer_00", "layer_09", "layer_10"]
    maps = pca.pca(png[:1], backbone="tiny-vit", size=64)
    assert [caption.partition(":")[0] for caption, _ in maps._rows(0)[0][1:]] == [
        "key at layer 0 (-3)", "key at layer 1 (-2)", "key at layer 2 (-1)",
    ]  # fmt: skip
    assert torch.equal(pca.pca(png[:1], backbone="tiny-vit", size=64, layer=1).maps[-2][0], maps.maps[-2][0])


@pytest.mark.parametrize("upsampling", ["edges", "blocks"])
def test_saved_images_equal_the_result(png, tmp_path, upsampling):
    maps = pca.pca(png[:1], backbone="tiny-cnn", layer=-1, size=64, upsampling=upsampling)
    assert pca.save(maps, tmp_path / "out") == tmp_path / "out" / pca.SHEET
    saved = read(tmp_path / "out" / "1-structure_layer_4.png").pixels[0]
    torch.testing.assert_close(saved, maps.upsampled(-1, 0), atol=1 / 255, rtol=0)
    assert maps._repr_png_() == (tmp_path / "out" / pca.SHEET).read_bytes()


@pytest.mark.slow
def test_force_removes_maps_of_the_earlier_call_and_no_other_file(png, tmp_path):
    pca.save(pca.pca(png, backbone="tiny-vit", size=64, layer=1), tmp_path)
    unlisted = tmp_path / "9-mine_layer_1.png"
    assert pca.MAP_FILE.fullmatch(unlisted.name)
    unlisted.write_text("mine")
    pca.save(pca.pca(png[:1], backbone="tiny-vit", size=64, layer=2), tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir() if "layer" in path.name} == {
        "1-structure_layer_2.png", unlisted.name,
    }  # fmt: skip


def test_file_names_in_pca_json_never_lead_to_removal_of_other_files(png, tmp_path, victim):
    out = tmp_path / "out"
    maps = pca.pca(png[:1], backbone="tiny-vit", size=64, layer=2)
    pca.save(maps, out)
    mine = out / "mine.png"
    mine.write_text("mine")
    names = ["mine.png", f"../../{victim.name}/output.png", str(victim / "output.png"), "../1-a_layer_-1.png", 5, None]
    (out / pca.DATA).write_text(json.dumps({"files": names}))
    pca.save(maps, out, force=True)
    assert mine.read_text() == "mine"


def test_sheet_that_is_a_link_out_of_the_folder_is_refused(png, tmp_path, victim):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / pca.SHEET).symlink_to(victim / "output.png")
    with pytest.raises(PathRejected, match="leads out of"):
        pca.save(pca.pca(png[:1], backbone="tiny-vit", size=64, layer=2), tmp_path / "out", force=True)


def test_output_folder_with_a_nul_is_refused(png, tmp_path):
    maps = pca.pca(png[:1], backbone="tiny-vit", size=64, layer=2)
    with pytest.raises(UserError, match="has a NUL character, which no file name can have"):
        pca.save(maps, tmp_path / "a\0b")


def test_force_removes_maps_of_a_call_that_was_killed(png, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pca.ComponentMaps, "sheet", property(lambda self: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            pca.save(pca.pca(png, backbone="tiny-vit", layer=2, size=64), tmp_path / "out")
    assert list((tmp_path / "out").glob("2-*"))
    pca.save(pca.pca(png[:1], backbone="tiny-vit", layer=2, size=64), tmp_path / "out", force=True)
    assert not list((tmp_path / "out").glob("2-*"))


def test_only_inputs_that_would_be_replaced_or_removed_are_refused(tmp_path):
    # 2-dog_... is the name of a map of dog.jpg if that is the second input
    map_of_second_input, listed, unrelated = (
        tmp_path / name for name in ("2-dog_layer_05.png", "9-cat_layer_05.png", "7-dog_layer_05.png")
    )
    map_of_second_input.touch()
    (tmp_path / pca.DATA).write_text(json.dumps({"files": [listed.name]}))
    for inputs in ([map_of_second_input, tmp_path / "dog.jpg"], [listed], [tmp_path / pca.SHEET]):
        with pytest.raises(UserError, match="is an output file in .* and would be replaced or removed; move it"):
            pca.check_output(tmp_path, inputs, force=True)
    # no input is dog.jpg: neither file would be replaced
    assert pca.check_output(tmp_path, [unrelated, map_of_second_input], force=True) == tmp_path


def test_an_input_to_which_the_name_of_a_map_is_a_link_is_refused(tmp_path):
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "1-cat_layer_2.png").symlink_to("cat.jpg")
    with pytest.raises(UserError, match=r"cat\.jpg is an output file in .* and would be replaced"):
        pca.check_output(tmp_path, [tmp_path / "cat.jpg"], force=True)


def test_files_with_the_names_of_maps_are_refused_without_force(png, tmp_path):
    mine = tmp_path / "1-structure_layer_2.png"
    mine.write_text("mine")
    maps = pca.pca(png[:1], backbone="tiny-vit", size=64, layer=2)
    with pytest.raises(OutputExists, match=rf"already holds {re.escape(mine.name)}; choose another folder"):
        pca.save(maps, tmp_path)
    pca.save(pca.pca(png[:1], backbone="tiny-vit", size=64, layer=1), tmp_path)
    assert mine.read_text() == "mine"


def test_save_refuses_to_replace_an_image_of_the_maps_even_with_force(png, tmp_path):
    photograph = png[0].rename(tmp_path / pca.SHEET)
    maps = pca.pca([photograph], backbone="tiny-vit", size=64, layer=2)
    with pytest.raises(UserError, match=r"pca\.png is an output file in .* and would be replaced"):
        pca.save(maps, tmp_path, force=True)
