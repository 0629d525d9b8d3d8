"""Settings of a backbone."""

import pytest
from pydantic import ValidationError

from vitsplice.config import BackboneConfig


@pytest.mark.parametrize(("side", "expected"), [(100, 100), (1e2, 100), ("100", 100), ("view", "view"), (None, None)])
def test_side_is_read_like_other_integers_or_is_view_or_none(side, expected):
    read = BackboneConfig(name="a", side=side).side
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize("side", [15, 4097, 99.5, True, "views", [100]])
def test_other_side_is_refused(side):
    with pytest.raises(ValidationError, match="must be an integer from 16 to 4096, or view|true and false are not"):
        BackboneConfig(name="a", side=side)
