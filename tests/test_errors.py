"""Messages of errors in Python and on the command line."""

import pickle

import pytest

from vitsplice.cli.output import message
from vitsplice.errors import Argument, ConfigError, NonFiniteLoss, Setting, UserError


@pytest.mark.parametrize(
    ("part", "in_python", "as_option"),
    [
        (Argument("size"), "size", "--size"),
        (Argument("size", 96), "size=96", "--size 96"),
        (Argument("k", 1), "k=1", "--k 1"),
        (Argument("force", True), "force=True", "--force"),
        (Argument("structure_mask"), "structure_mask", "--structure-mask"),
        (Argument("resume", "my run"), "resume='my run'", "--resume 'my run'"),
        (Setting("optimiser.lr"), "optimiser.lr", "--set optimiser.lr=..."),
        (Setting("terms.a.weight", 0), "terms.a.weight=0", "--set terms.a.weight=0"),
    ],
)
def test_a_message_names_arguments_in_python_and_options_on_the_command_line(part, in_python, as_option):
    error = UserError("too large; ", part, " would fit")
    assert str(error) == f"too large; {in_python} would fit"
    assert message(error) == f"too large; {as_option} would fit"


def test_a_message_of_text_is_the_same_in_python_and_on_the_command_line():
    assert str(UserError("no {such} --thing")) == message(UserError("no {such} --thing")) == "no {such} --thing"


def test_an_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ConfigError("no; ", Setting("a.b", 1))))
    assert error.parts == ("no; ", Setting("a.b", 1))


def test_a_loss_that_is_not_finite_suggests_settings():
    error = NonFiniteLoss(3, "cls", float("nan"))
    assert "--" not in str(error)
    assert "terms.cls.weight" in str(error)
    assert "--set terms.cls.weight=..., or --precision float32" in message(error)
