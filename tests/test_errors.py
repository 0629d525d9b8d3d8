"""Messages of errors in Python and on the command line."""

import pickle

import pytest

from vitsplice import errors
from vitsplice.cli.output import message
from vitsplice.errors import (
    Argument,
    ConfigError,
    NonFiniteLoss,
    Setting,
    UserError,
    VitspliceError,
    allocation_failure,
)


@pytest.mark.parametrize(
    ("part", "in_python", "as_option"),
    [
        (Argument("size"), "size", "--size"),
        (Argument("size", 96), "size=96", "--size 96"),
        (Argument("k", 1), "k=1", "--k 1"),
        (Argument("force", True), "force=True", "--force"),
        (Argument("structure_mask"), "structure_mask", "--structure-mask"),
        (Argument("resume", "my run"), "resume='my run'", "--resume 'my run'"),
        (
            Argument("optimised", {"one": ("a", "b"), "two": ()}),
            "optimised={'one': ('a', 'b'), 'two': ()}",
            "--optimised one=a --optimised one=b --optimised two=none",
        ),
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


@pytest.mark.parametrize("error", [ConfigError("no; ", Setting("a.b", 1)), NonFiniteLoss(3, "cls", float("inf"))])
def test_an_error_can_be_pickled(error):
    error.add_note("in stage 2")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.parts == error.parts
    assert vars(copy) == vars(error)


def test_only_errors_whose_pickling_is_tested_have_an_initialisation_of_their_own():
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, VitspliceError)]
    assert [each for each in classes if "__init__" in vars(each)] == [VitspliceError, NonFiniteLoss]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
            "CUDA out of memory. Tried to allocate 2.",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "CUDNN_STATUS_ALLOC_FAILED"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "DEVICE_ALLOCATION_FAILED",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "can't allocate memory: 9",
        ),
        (RuntimeError("[fail] DefaultCPUAllocator: not enough memory: 9 bytes"), "not enough memory: 9 bytes"),
        (MemoryError(), "MemoryError"),
        (MemoryError("\n \n"), "MemoryError"),
        (MemoryError("\nUnable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
    ],
)
def test_failed_allocations_are_recognised(error, expected):
    assert expected in allocation_failure(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("not enough memory")])
def test_other_errors_are_not_failed_allocations(error):
    assert allocation_failure(error) is None


def test_a_loss_that_is_not_finite_counts_steps_from_1_and_suggests_settings():
    error = NonFiniteLoss(3, "cls", float("nan"))
    assert (error.step, "at step 4;" in str(error)) == (3, True)
    assert "--" not in str(error)
    assert "terms.cls.weight" in str(error)
    assert "--set terms.cls.weight=..., or --set precision=float32" in message(error)
