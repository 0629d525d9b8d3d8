"""What the contracts share: how checks are found and run, and what they are fed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal
from unittest import SkipTest

import torch
from torch import Tensor

from vitsplice.contracts import ExecutorSpec, GeneratorSpec, LossSpec
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.rng import stream
from vitsplice.text import one_line

LISTS_WITHOUT_TORCH = """
import sys
from vitsplice.plugins import catalogue
known = {kind: getattr(catalogue(), kind) for kind in sys.argv[3:]}
assert sys.argv[2] in known[sys.argv[1]], f"{sys.argv[2]} is not listed"
loaded = sorted({"torch", "timm", "open_clip", "torchvision", "kornia", "ray"} & set(sys.modules))
assert not loaded, f"listing imports {', '.join(loaded)}"
"""


KINDS = ("backbones", "losses", "generators", "metrics", "presets", "executors")
"""The kinds of parts that have a contract."""


@dataclass(frozen=True)
class Verdict:
    """What became of one check.

    Args:
        check: its name.
        promise: what it holds the plugin to.
        outcome: whether the promise was kept.
        why: what was seen where it was not, or why it could not be checked.
    """

    check: str
    promise: str
    outcome: Literal["kept", "broken", "not checked"]
    why: str = ""


class Contract:
    """Checks of one part of a plugin. The methods whose names begin with ``test_`` are run by pytest, or by `verdicts`.

    Attributes:
        name: under which the part is registered.
        kind: the hook's word for it, of `KINDS`.
    """

    name: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    def test_it_is_listed_without_loading_anything_heavy(self) -> None:
        """Hooks return specs; torch and the like are imported where something is built."""
        if self.name not in getattr(catalogue(), self.kind):
            raise SkipTest("it is not listed")
        command = [sys.executable, "-c", LISTS_WITHOUT_TORCH, self.kind, self.name, *KINDS]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr.strip().splitlines()[-1]

    def try_build(self) -> object:
        """Build the part as the checks do; what it raises, they all would."""
        return None

    @classmethod
    def verdicts(cls, only: str = "") -> list[Verdict]:
        """Run every check whose name has ``only`` in it, and tell what became of it.

        If the part cannot be built, that is the only verdict.
        """
        names = [name for name, _ in inspect.getmembers(cls, inspect.isfunction) if name.startswith("test_")]
        names = [name for name in names if only in name]
        try:
            cls().try_build()
        except SkipTest:
            pass
        except Exception as error:  # a plugin's code may raise anything
            why = f"{_why(error)} (the other {len(names)} checks need it built and were not made)"
            return [Verdict("build", "It can be built.", "broken", why)]
        return [_verdict(cls, name) for name in names]


def _verdict(contract: type[Contract], name: str) -> Verdict:
    check = getattr(contract(), name)
    promise = one_line((check.__doc__ or name).split("\n")[0])
    try:
        check()
    except SkipTest as skipped:
        return Verdict(name, promise, "not checked", one_line(str(skipped)))
    except Exception as error:  # a plugin's code may raise anything
        return Verdict(name, promise, "broken", _why(error))
    return Verdict(name, promise, "kept")


def _why(error: Exception) -> str:
    told = str(error).split("\n")[0] if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    return one_line(told) or "it does not hold"


def whole(spec: LossSpec | GeneratorSpec | ExecutorSpec) -> None:
    """Raises AssertionError unless a spec states its summary and options, and allows their defaults."""
    assert spec.summary.strip(), "no summary"
    defaults = {name: option.default for name, option in spec.options.items()}
    assert complete(spec, defaults) == defaults, "a default is not allowed"
    assert all(option.help.strip() for option in spec.options.values()), "an option has no help"


def images(number: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images ``(number, 3, height, width)`` in [0, 1] that differ from each other, smooth but for a little noise."""
    rng = stream(seed, "testing", number, height, width)
    coarse = torch.rand(number, 3, 5, 6, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return (0.8 * smooth + 0.2 * torch.rand(number, 3, height, width, generator=rng)).clamp(0, 1)


@contextmanager
def random_state_untouched(what: str) -> Iterator[None]:
    """Raises AssertionError if what is within draws from torch's global random numbers, or sets their seed."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), f"{what} changes torch's global random state"


def near(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-3) -> None:
    """Raises AssertionError unless two tensors are alike, in proportion to their size."""
    assert found.shape == expected.shape, f"{what}: shapes are {tuple(found.shape)} and {tuple(expected.shape)}"
    off = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
    assert off <= tolerance, f"{what}: they are {off:.2g} apart, in proportion to the greatest"
