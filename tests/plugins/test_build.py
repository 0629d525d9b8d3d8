from dataclasses import replace
from functools import partial

import pytest
import torch
import vitsplice_tiny

from vitsplice.contracts import BackboneSpec, MetricSpec
from vitsplice.errors import PartRejected, WeightsUnavailable
from vitsplice.plugins import KINDS, catalogue
from vitsplice.plugins.build import PARTS, build_part


def raising(error):
    def build(*arguments):
        raise error

    return build


def test_exception_is_named_with_part_plugin_file_and_line():
    error = ValueError("x went wrong")
    spec = replace(catalogue().losses["structure"], build=raising(error))
    action = "building loss term 'structure' of plugin vitsplice failed"
    with pytest.raises(
        PartRejected, match=rf"^{action}: test_build\.py, line \d+: ValueError: x went wrong$"
    ) as caught:
        build_part(spec, None)
    assert caught.value.__cause__ is error


def test_if_a_library_raises_the_place_is_the_line_of_the_plugin_that_called_it():
    def build(weights):
        torch.nn.Linear(1, 1).load_state_dict({})

    with pytest.raises(PartRejected, match=r"^building backbone 'mine' failed: test_build\.py, line \d+: RuntimeError"):
        build_part(BackboneSpec("mine", partial(build), "", "", ""), None)  # the module of a partial is functools


def test_spec_may_be_of_a_subclass_and_a_backbone_a_wrapper():
    class Wrapper:
        def __init__(self, backbone):
            self._backbone = backbone

        def __getattr__(self, name):
            return getattr(self._backbone, name)

    class Spec(BackboneSpec):
        pass

    wrapper = Wrapper(vitsplice_tiny.tiny_vit())
    assert build_part(Spec("mine", lambda weights: wrapper, "", "", ""), None) is wrapper


def test_exit_of_a_build_function_is_a_failure():
    with pytest.raises(
        PartRejected, match=r"^building backbone 'mine' failed: test_build\.py, line \d+: SystemExit: 3$"
    ):
        build_part(BackboneSpec("mine", raising(SystemExit(3)), "", "", ""), None)


def test_error_derived_from_base_exception_alone_is_a_failure():
    class Panic(BaseException):
        """As an extension in Rust raises it."""

    with pytest.raises(PartRejected, match=r"^building backbone 'mine' failed: test_build\.py, line \d+: Panic: no$"):
        build_part(BackboneSpec("mine", raising(Panic("no")), "", "", ""), None)


def test_interrupt_of_a_build_function_is_raised():
    with pytest.raises(KeyboardInterrupt):
        build_part(BackboneSpec("mine", raising(KeyboardInterrupt()), "", "", ""), None)


def test_exception_of_a_property_of_a_backbone_is_a_failure():
    class Broken:
        @property
        def info(self):
            raise ValueError("no file")

    with pytest.raises(PartRejected, match=r"test_build\.py, line \d+: ValueError: no file$"):
        build_part(BackboneSpec("mine", lambda weights: Broken(), "", "", ""), None)


def test_exception_without_a_frame_of_python_code_has_no_place():
    with pytest.raises(PartRejected, match="^building backbone 'mine' failed: KeyError: 'x'$"):
        build_part(BackboneSpec("mine", {}.__getitem__, "", "", ""), "x")


def test_part_that_no_plugin_lists_is_named_without_one():
    spec = BackboneSpec("mine", raising(KeyError("k")), "", "", "")
    with pytest.raises(PartRejected, match="^building backbone 'mine' failed: "):
        build_part(spec, None)


@pytest.mark.parametrize("error", [WeightsUnavailable("no weights"), torch.OutOfMemoryError("out of memory")])
def test_vitsplice_error_and_error_of_a_failed_allocation_are_raised_unchanged(error):
    with pytest.raises(type(error)) as caught:
        build_part(MetricSpec("m", raising(error), ""), None)
    assert caught.value is error


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.spec in PARTS], ids=lambda kind: kind.name)
def test_an_object_of_another_class_is_refused(kind):
    spec = next(iter(getattr(catalogue(), kind.name).values()))
    expected = PARTS[kind.spec].__name__
    returned = f"the build function of {kind.word} '{spec.name}' of plugin \\S+ returned an int"
    with pytest.raises(PartRejected, match=f"^{returned}, not an instance of {expected}$"):
        build_part(replace(spec, build=lambda *arguments: 3))
