import numpy as np
import pytest
import torch

from tests.analysis.toys import Toy
from vitsplice.analysis.transforms import WARPS
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.images import encode_png
from vitsplice.keypoints import warps
from vitsplice.keypoints.errors import errors
from vitsplice.keypoints.sights import Sights


def test_every_image_under_every_warp(png):
    data = warps.read(png)
    pairs = list(data.pairs())
    assert data.count == len(pairs) == 2 * len(WARPS)
    assert len({pair.id for pair in pairs}) == len(pairs)
    assert [pair.category for pair in pairs] == [*WARPS, *WARPS]
    assert (pairs[0].source.warp, pairs[0].target.warp) == ("shift", "")
    assert np.allclose(pairs[0].target_points, pairs[0].source_points - 1 / 8)


def test_the_look_of_the_warped_image_is_changed_and_only_that(png):
    for change, looks in (("jitter", "jitter"), ("grey", "grey"), ("none", "")):
        data = warps.read(png, change)
        assert {(pair.source.change, pair.target.change) for pair in data.pairs()} == {(looks, "")}
        assert data.record["change"] == change
    assert next(warps.read(png).pairs()).key() != next(warps.read(png, "none").pairs()).key()
    with pytest.raises(UserError, match="there are grey, jitter, blur, none"):
        warps.read(png, "style")


def test_a_image_given_twice_is_one(png):
    assert warps.read([png[0], png[0]]).count == len(WARPS)


def test_a_image_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        warps.read([tmp_path / "gone.png"])


def place(images):
    """What a place is can be seen: colours that tell down and across."""
    return torch.cat([images[:, :2], 1 - images[:, :2]], 1)


def test_a_backbone_that_sees_where_things_come_from_finds_them(tmp_path):
    down, across = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 128), indexing="ij")
    path = tmp_path / "ramp.png"
    path.write_bytes(encode_png(torch.stack([down, across, torch.zeros_like(down)])[None]))
    sights = Sights(lambda: Toy(place), [FeatureRequest("map")], 112, torch.device("cpu"))
    for pair in warps.read([path], "none").pairs():
        off = errors(pair, sights(pair.source), sights(pair.target), FeatureRequest("map"))
        assert len(off.values) + off.outside == warps.SIDE**2
        assert np.median(off.values) < 0.03, pair.category
