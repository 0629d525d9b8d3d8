"""Specs of backbones."""

import pytest

from vitsplice.contracts import BackboneSpec


class Panic(BaseException):
    """A BaseException that is no Exception, such as an extension in Rust raises."""


def spec_whose_find_weights_raises(error):
    def find_weights():
        raise error

    return BackboneSpec("a", lambda weights: None, "", "", "", find_weights)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("bye"), Panic("no")])
def test_error_of_find_weights_is_an_unknown_location(error):
    assert spec_whose_find_weights_raises(error).weights_location() == f"unknown ({type(error).__name__})"


def test_interrupt_of_find_weights_is_raised():
    with pytest.raises(KeyboardInterrupt):
        spec_whose_find_weights_raises(KeyboardInterrupt()).weights_location()
