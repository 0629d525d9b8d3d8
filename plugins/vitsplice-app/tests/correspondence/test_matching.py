"""Matches of two images, without the page."""

import pytest
import torch
from vitsplice_app.correspondence.matching import TOGETHER, match

from vitsplice.analysis.correspondence import match_images
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.images import example


@pytest.fixture
def images(png):
    return tuple(map(str, png))


@pytest.mark.slow
@pytest.mark.parametrize(("facet", "layer", "arguments"), [
    (TOGETHER, -2, {}),
    ("value", -2, {"facet": "value", "layer": -2}),
])  # fmt: skip
def test_matches_are_those_of_the_python_interface(images, facet, layer, arguments):
    result = match(images, "tiny-vit", facet, layer, 8)
    expected = match_images(*images, backbone="tiny-vit", grid=8, **arguments)
    assert result.record() == expected.record()
    assert torch.equal(result.correspondence.similarity, expected.correspondence.similarity)


@pytest.mark.slow
def test_other_settings_do_not_give_the_cached_matches(images):
    records = [match(images, "tiny-vit", *setting, 8).record() for setting in ((TOGETHER, -1), ("key", -1), ("key", 0))]
    assert [record["features"] == records[0]["features"] for record in records] == [True, False, False]
    assert records[1]["matches"] != records[2]["matches"]


@pytest.mark.parametrize("given", [(None, None), (example()[0], None), (None, example()[0])])
def test_both_images_are_needed(given):
    with pytest.raises(UserError, match="two images are required"):
        match(given, "tiny-vit", TOGETHER, None, 8)


def test_errors_are_those_of_the_python_interface(images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ImageError, match="broken.png"):
        match((images[0], str(broken)), "tiny-vit", TOGETHER, None, 8)
    with pytest.raises(ConfigError, match="has no layer 7"):
        match(images, "tiny-vit", "key", 7, 8)
