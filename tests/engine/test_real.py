"""The warm start of photographs, with pretrained networks."""

import pytest

import vitsplice
from vitsplice.images import read, resize_to
from vitsplice.images.transforms import to_lab

pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")

pytestmark = pytest.mark.weights


def test_leaf_beside_an_apple_stays_green_and_the_apple_takes_the_colour_of_the_plum(shared):
    """DINOv2 alone matches this leaf with the plum; `instant` also matches by a CNN (`match.further_backbones`)."""
    pair = [resize_to(read(shared / f"pairs/apples/{role}.jpg").pixels, 256) for role in ("structure", "appearance")]
    overrides = ["metrics=none", "precision=float32", "match.grid=16"]
    output = vitsplice.splice(*pair, preset="instant", overrides=overrides).pixels
    a, b = to_lab(output[None])[0, 1:] * 100  # a: green below 0, red above; b: blue below 0, yellow above
    height, width = a.shape
    leaf, apple = (
        (slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width)))
        for top, bottom, left, right in ((0.12, 0.22, 0.76, 0.92), (0.55, 0.8, 0.38, 0.55))
    )
    assert a[leaf].mean() < -10 < 10 < a[apple].mean()
    assert b[apple].mean() > 20
