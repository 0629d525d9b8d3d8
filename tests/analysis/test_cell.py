import pytest
import torch

from tests.analysis.toys import Toy, colour, luma, nothing
from tests.conftest import noise
from vitsplice.analysis import cell, transforms


def smooth(seed=0, side=64):
    return torch.nn.functional.interpolate(noise(1, 3, 8, 8, seed=seed), size=(side, side), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("role", ["structure", "appearance"])
@pytest.mark.parametrize("layer", [-2, -1])
def test_a_backbone_that_is_blind_to_colour_does_not_see_it_go(role, layer):
    found = cell.look_at(cell.Subject("a", smooth()), Toy(luma))
    assert found.changed[role, "grey", layer] == pytest.approx(0, abs=1e-4)
    assert found.changed[role, "jitter", layer] > 1e-3
    assert cell.look_at(cell.Subject("a", smooth()), Toy(colour)).changed[role, "grey", layer] > 1e-3


def test_a_backbone_that_sees_nothing_is_changed_by_nothing():
    found = cell.look_at(cell.Subject("a", smooth()), Toy(nothing))
    assert set(found.changed.values()) == {0.0}


def test_mean_colours_do_not_know_where():
    found = cell.look_at(cell.Subject("a", smooth()), Toy(colour))
    for name in ("flip", "shuffle"):
        assert found.changed["appearance", name, -1] == pytest.approx(0, abs=1e-3)
        assert found.changed["structure", name, -1] > 0.01


def test_every_change_every_role_and_every_layer_is_there():
    subject = cell.Subject("a", smooth(), styled=smooth(1), labels=(noise(64, 64) > 0.5).long())
    found = cell.look_at(subject, Toy(colour))
    names = {*transforms.APPEARANCE_TRANSFORMS, *transforms.STRUCTURE_TRANSFORMS, cell.STYLE}
    assert set(found.changed) == {(r, n, x) for r in ("structure", "appearance") for n in names for x in (-2, -1)}
    assert set(found.pck) == {(warp, layer) for warp in transforms.WARPS for layer in (-2, -1)}
    assert set(found.parts) == {-2, -1}
    assert found.structure.shape == (2, 256, 256)


def test_a_real_backbone_s_layers(vit):
    found = cell.look_at(cell.Subject("a", smooth()), vit)
    assert found.structure.shape[0] == len(found.appearance) == 3
    assert found.parts == {}


def test_a_cell_is_kept_and_read_again(tmp_path):
    subject = cell.Subject("a", smooth(), labels=(noise(64, 64) > 0.5).long())
    found = cell.look_at(subject, Toy(colour))
    path = tmp_path / "cells" / "a.safetensors"
    cell.write(path, found)
    again = cell.read(path)
    assert (again.changed, again.pck, again.parts) == (found.changed, found.pck, found.parts)
    torch.testing.assert_close(again.structure, found.structure, atol=1e-3, rtol=0)
    for ours, theirs in zip(again.appearance, found.appearance, strict=True):
        assert torch.equal(ours, theirs)


def test_what_is_not_a_whole_cell_is_none(tmp_path):
    path = tmp_path / "a.safetensors"
    assert cell.read(path) is None
    cell.write(path, cell.look_at(cell.Subject("a", smooth()), Toy(colour)))
    whole = path.read_bytes()
    for broken in (b"", whole[:100], whole[:-5], b"x" * 1000):
        path.write_bytes(broken)
        assert cell.read(path) is None


def test_a_subject_s_digest_is_of_all_of_it():
    image, other, labels = smooth(), smooth(1), (noise(64, 64) > 0.5).long()
    digests = {
        cell.Subject("a", image).digest,
        cell.Subject("a", other).digest,
        cell.Subject("a", image, other).digest,
        cell.Subject("a", image, None, labels).digest,
    }
    assert len(digests) == 4
    assert cell.Subject("b", image).digest == cell.Subject("a", image).digest
