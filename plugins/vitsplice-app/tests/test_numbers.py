"""Values of number fields."""

import pytest
from vitsplice_app.numbers import whole_number


@pytest.mark.parametrize(("value", "whole"), [(7, 7), (7.0, 7), (-1.0, -1), (10**400, 10**400)])
def test_whole_value_is_an_integer(value, whole):
    number = whole_number("Seed", value)
    assert (number, type(number)) == (whole, int)
