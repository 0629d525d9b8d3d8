"""Base class of the contracts: it runs the checks and reports their results."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, Literal
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.errors import INTERRUPTS, reason
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.plugins.discovery import PLUGINS_VARIABLE
from vitsplice.plugins.kinds import SpecT
from vitsplice.text import one_line

LISTING_SCRIPT = """
import json, sys
from vitsplice.plugins import KINDS, catalogue
known = {kind.name: [*getattr(catalogue(), kind.name)] for kind in KINDS}
heavy = sorted({"torch", "timm", "open_clip", "torchvision", "kornia", "ray"} & set(sys.modules))
print(json.dumps([known, heavy]))
"""


@cache
def _listed(path: str, plugin: str) -> tuple[dict[str, list[str]], list[str]]:
    """List, in a new process, the built-in parts and those of a plugin; and the heavy packages that listing imports."""
    environment = os.environ | {"PYTHONPATH": path, PLUGINS_VARIABLE: plugin}
    process = subprocess.run([sys.executable, "-c", LISTING_SCRIPT], capture_output=True, text=True, env=environment)
    exit_message = f"listing ended with exit code {process.returncode}"
    assert process.returncode == 0, (process.stderr.strip() or exit_message).splitlines()[-1]
    known, heavy = json.loads(process.stdout)
    return known, heavy


@dataclass(frozen=True)
class CheckResult:
    """Result of one check of a contract.

    Args:
        check: name of the check.
        requirement: what the part has to fulfil, in one sentence.
        outcome: "passed", "failed" or "skipped".
        reason: why it failed or was skipped; "" if it passed.
    """

    check: str
    requirement: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


class Contract(Generic[SpecT]):
    """Checks of one part of a plugin: methods named ``test_...``, which pytest or `run_checks` runs.

    Attributes:
        name: name under which the part is registered; "" if it is not.
        kind: kind of the part: "backbones", "losses", "generators", "conditional_generators", "metrics", "presets" or
            "executors".
    """

    name: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    def spec(self) -> SpecT:
        """Return the spec. Override this method to test a part that is not registered."""
        if not self.name:
            raise SkipTest("the part is not registered")
        spec: SpecT = getattr(catalogue(), self.kind)[self.name]
        return spec

    def try_build(self) -> object:
        """Build the part as the checks do; `run_checks` calls it first, so that a failure is reported only once."""
        return None

    def test_listing_imports_no_heavy_package(self) -> None:
        """Hooks return specs without importing torch or other heavy packages."""
        registry = getattr(catalogue(), self.kind)
        if self.name not in registry:
            raise SkipTest("the part is not listed")
        path = os.pathsep.join(filter(None, sys.path))
        known, heavy = _listed(path, registry.plugin_of(self.name))
        assert self.name in known[self.kind], f"{self.name} is not listed in a new process"
        assert not heavy, f"listing imports {', '.join(heavy)}"

    def test_spec_is_complete(self) -> None:
        """The spec states its summary, and every option has a help text and a valid default."""
        spec: Any = self.spec()
        assert spec.summary.strip(), "the summary is empty"
        options = getattr(spec, "options", {})
        if options:
            complete(spec, {name: option.default for name, option in options.items()})  # refuses an invalid default
        assert all(option.help.strip() for option in options.values()), "an option has no help text"

    @classmethod
    def run_checks(cls, only: str = "") -> list[CheckResult]:
        """Run the checks whose name contains ``only``.

        If the part cannot be built, the only result is a failed check "build".
        """
        names = [name for name, _ in inspect.getmembers(cls, inspect.isfunction) if name.startswith("test_")]
        names = [name for name in names if only in name]
        try:
            cls().try_build()
        except SkipTest:
            pass
        except INTERRUPTS:
            raise
        except BaseException as error:
            skipped = f"(the other {len(names)} checks were not run)"
            return [CheckResult("build", "The part can be built.", "failed", f"{_reason(error)} {skipped}")]
        return [_run_check(cls, name) for name in names]


def _run_check(contract: type[Contract[Any]], name: str) -> CheckResult:
    check = getattr(contract(), name)
    requirement = one_line((check.__doc__ or name).split("\n")[0])
    try:
        check()
    except SkipTest as skipped:
        return CheckResult(name, requirement, "skipped", one_line(str(skipped)))
    except INTERRUPTS:
        raise
    except BaseException as error:
        return CheckResult(name, requirement, "failed", _reason(error))
    return CheckResult(name, requirement, "passed")


def _reason(error: BaseException) -> str:
    text = str(error).split("\n")[0] if isinstance(error, AssertionError) else reason(error)
    return one_line(text) or "the requirement is not fulfilled"


@contextmanager
def random_state_unchanged(action: str) -> Iterator[None]:
    """Raise AssertionError if the block draws from torch's global random number generator, or seeds it."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), f"{action} changes torch's global random state"


def assert_close(actual: Tensor, expected: Tensor, name: str, tolerance: float = 1e-3) -> None:
    """Raise AssertionError unless shapes are equal and max|actual - expected| <= tolerance * max|expected|."""
    assert actual.shape == expected.shape, f"{name}: shapes are {tuple(actual.shape)} and {tuple(expected.shape)}"
    difference = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
    assert difference <= tolerance, f"{name}: relative difference {difference:.2g}, more than {tolerance:g}"
