import itertools
import math

import pytest
import torch

from tests.analysis.toys import Toy, colour, luma, ones
from tests.conftest import noise
from vitsplice.analysis import encoding
from vitsplice.analysis.comparison_images import STYLE, ComparedImage
from vitsplice.analysis.encoding import encode_image, warp_pck
from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, STRUCTURE_TRANSFORMS, WARPS, warp
from vitsplice.contracts import Features


def pooled(pixels, side=8):
    """Features of a toy backbone: pixels, averaged to patches."""
    maps = torch.nn.functional.adaptive_avg_pool2d(pixels, side)
    return Features(maps.flatten(2).transpose(1, 2), (side, side))


def smooth(seed=0, side=64):
    return torch.nn.functional.interpolate(noise(1, 3, 8, 8, seed=seed), size=(side, side), mode="bicubic").clamp(0, 1)


def encoded(backbone, **more):
    return encode_image(ComparedImage("a", smooth(), **more), backbone, torch.device("cpu"))


def random_labels(side=64):
    return (noise(side, side) > 0.5).long()


def test_cka_is_1_for_equal_kernels_at_any_scale_and_0_with_a_constant():
    kernel = encoding.structure_feature(pooled(noise(1, 3, 64, 64)))
    torch.testing.assert_close(encoding.cka(torch.stack([kernel, kernel, 3 * kernel + 2])), torch.ones(3, 3))
    for value in (1.0, 0.9):
        constant = encoding.cka(torch.stack([kernel, torch.full_like(kernel, value)]))
        torch.testing.assert_close(constant, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_cka_equals_its_definition():
    first, second = (encoding.structure_feature(pooled(noise(1, 3, 64, 64, seed=s))) for s in (1, 2))
    n = len(first)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n

    def hsic(k, m):
        return torch.trace(k.double() @ centre @ m.double() @ centre)

    expected = hsic(first, second) / (hsic(first, first) * hsic(second, second)).sqrt()
    cka = encoding.cka(torch.stack([first, second]))
    assert float(cka[0, 1]) == float(cka[1, 0]) == pytest.approx(float(expected), abs=1e-5)
    assert 0 <= cka[0, 1] < 1


def test_pck_of_the_identity_is_1():
    features = pooled(noise(1, 3, 64, 64))
    assert warp_pck(features, features, lambda points: points, alpha=0) == 1.0


@pytest.mark.parametrize("patches", [(1, 0), (2, 3), (0, -3)])
def test_pck_of_shifts_by_whole_patches_is_1(patches):
    image = noise(1, 3, 128, 128)
    y, x = (8 * number for number in patches)
    original, shifted = image[..., 32:96, 32:96], image[..., 32 - y : 96 - y, 32 - x : 96 - x]

    def source_of(points):
        return points - torch.tensor(patches) / 8

    assert warp_pck(pooled(original), pooled(shifted), source_of, alpha=1e-6) == 1.0


def test_pck_of_random_features_is_chance():
    generator = torch.Generator().manual_seed(0)
    first, second = (Features(torch.randn(1, 1600, 32, generator=generator), (40, 40)) for _ in range(2))
    chance = math.pi * 0.1**2  # the area of the circle of the default threshold, in an image of area 1
    assert warp_pck(first, second, lambda points: points) == pytest.approx(chance, abs=0.01)


def test_pck_uses_the_euclidean_distance():
    """An error of a sixteenth of the side in both directions is 0.088."""
    features = pooled(noise(1, 3, 64, 64), 16)

    def source_of(points):
        return points + 1 / 16

    assert warp_pck(features, features, source_of, alpha=0.07) == 0
    assert warp_pck(features, features, source_of, alpha=0.09) == 1


def test_pck_counts_errors_of_exactly_the_threshold_as_correct():
    features = pooled(noise(1, 3, 80, 80), 20)

    def two_patches_down(points):
        return torch.stack([points[:, 0] + 0.1, points[:, 1]], 1)

    assert warp_pck(features, features, two_patches_down, alpha=0.1) == 1


def test_pck_does_not_depend_on_the_number_of_patches_that_are_matched_at_once(monkeypatch):
    first, second = pooled(noise(1, 3, 64, 64)), pooled(noise(1, 3, 64, 64, seed=1))
    numbers, matmul = [], torch.matmul
    expected = warp_pck(first, second, lambda points: points, alpha=0.3)
    monkeypatch.setattr(encoding, "MAX_SIMILARITIES", 5 * 64 + 1)
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda *two: numbers.append(two[0].shape[0]) or matmul(*two))
    assert warp_pck(first, second, lambda points: points, alpha=0.3) == expected
    assert numbers == [*[5] * 12, 4]  # 64 patches, 5 at once


def test_pck_ignores_patches_from_outside_of_the_image():
    features = pooled(noise(1, 3, 64, 64))
    assert math.isnan(warp_pck(features, features, lambda points: points + 2))


@pytest.mark.parametrize("name", WARPS)
def test_pck_of_pixels_is_high_under_every_warp(name):
    """In a gradient, colours identify locations."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    image = torch.stack([y, x, 1 - y])[None]
    assert warp_pck(pooled(image, 16), pooled(warp(image, WARPS[name]), 16), WARPS[name]) > 0.85


def test_part_iou_is_1_for_separable_parts_and_low_for_unrelated_labels():
    maps = 0.01 * noise(1, 3, 64, 64)
    maps[..., 20:] += torch.tensor([0.5, 0.2, 0.9])[:, None, None]
    labels = torch.zeros(64, 64, dtype=torch.long)
    labels[:, 20:] = 1
    assert encoding.part_iou(pooled(maps, 16), labels) == 1.0
    unrelated = (noise(16, 16, seed=3) > 0.5).long().repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert encoding.part_iou(pooled(noise(1, 3, 64, 64), 16), unrelated) < 0.6


def test_common_grid_averages_finer_patches():
    rows = torch.tensor([0.0, 1, 1, 0]).repeat(16)  # four to each patch of the common grid
    maps = rows[:, None].expand(1, 3, 64, 64)
    resampled = encoding.on_common_grid(Features(maps.flatten(2).transpose(1, 2), (64, 64)))
    assert resampled.shape == (256, 3)
    torch.testing.assert_close(resampled, torch.full((256, 3), 0.5), atol=0.05, rtol=0)


def test_features_without_colours_are_unchanged_by_their_removal():
    of_luma, of_colour = (encoded(Toy(function)).changes for function in (luma, colour))
    for role, layer in itertools.product(("structure", "appearance"), (-2, -1)):
        assert of_luma[role, "grey", layer] == pytest.approx(0, abs=1e-4)
        assert of_luma[role, "jitter", layer] > 1e-3
        assert of_colour[role, "grey", layer] > 1e-3


def test_constant_features_are_changed_by_nothing():
    assert set(encoded(Toy(ones)).changes.values()) == {0.0}


@pytest.mark.parametrize("name", ["flip", "shuffle"])
def test_mean_colours_are_changed_by_no_rearrangement(name):
    changes = encoded(Toy(colour)).changes
    assert changes["appearance", name, -1] == pytest.approx(0, abs=1e-3)
    assert changes["structure", name, -1] > 0.01


def test_encoding_covers_every_transform_role_and_layer():
    result = encoded(Toy(colour), styled=smooth(1), labels=random_labels())
    names = {*APPEARANCE_TRANSFORMS, *STRUCTURE_TRANSFORMS, STYLE}
    assert set(result.changes) == {(r, n, x) for r in ("structure", "appearance") for n in names for x in (-2, -1)}
    assert set(result.pck) == {(name, layer) for name in WARPS for layer in (-2, -1)}
    assert set(result.part_iou) == {-2, -1}
    assert result.structure.shape == (2, 256, 256)


def test_a_single_label_on_the_common_grid_has_no_part_iou():
    speck = torch.zeros(64, 64, dtype=torch.long)
    speck[1, 1] = 1
    for labels in (torch.ones_like(speck), speck):
        assert encoded(Toy(colour), labels=labels).part_iou == {}


def test_encoding_of_a_vit_has_all_its_layers(vit):
    result = encoded(vit)
    assert result.structure.shape[0] == len(result.appearance) == 3
    assert result.part_iou == {}


def test_stored_encoding_is_read_back(tmp_path):
    result, path = encoded(Toy(colour), labels=random_labels()), tmp_path / "encodings" / "a.safetensors"
    encoding.write_encoding(path, result)
    stored = encoding.read_encoding(path)
    assert (stored.changes, stored.pck, stored.part_iou) == (result.changes, result.pck, result.part_iou)
    torch.testing.assert_close(stored.structure, result.structure, atol=1e-3, rtol=0)
    assert all(map(torch.equal, stored.appearance, result.appearance))


def test_missing_or_corrupt_encoding_is_none(tmp_path):
    path = tmp_path / "a.safetensors"
    assert encoding.read_encoding(path) is None
    encoding.write_encoding(path, encoded(Toy(colour)))
    data = path.read_bytes()
    for corrupt in (b"", data[:100], data[:-5], b"x" * 1000):
        path.write_bytes(corrupt)
        assert encoding.read_encoding(path) is None
