"""Where a method's outputs are: images, run folders, or the runs of a batch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vitsplice.batch.plan import BATCH, pair_folder
from vitsplice.datasets.sources import SUFFIXES
from vitsplice.errors import UserError
from vitsplice.runs.artifacts import OUTPUT
from vitsplice.support.files import inside, read_json_object
from vitsplice.text import printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")

LAYOUT = f"FOLDER/ID{{{','.join(SUFFIXES)}}}, FOLDER/ID/{OUTPUT}, or a folder of `vitsplice batch`"


@dataclass(frozen=True)
class Method:
    """A method: a name, and the folder that its outputs lie in."""

    name: str
    folder: Path

    def find(self, pair: str) -> Path | None:
        """The output for a pair's id, or None if there is none."""
        return next(self.found(pair), None)

    def found(self, pair: str) -> Iterator[Path]:
        """All outputs for a pair's id; there should be one."""
        places: list[tuple[str, ...]] = [(f"{pair}{suffix}", f"{pair}{suffix.upper()}") for suffix in SUFFIXES]
        places += [(f"{run}/{OUTPUT}",) for run in (pair, pair_folder(pair))]
        for names in places:  # on some file systems both are one
            yield from [path for name in names if os.path.isfile(path := self.folder / name)][:1]


def method(given: str) -> Method:
    """The method that NAME=FOLDER means; of a batch with one variant it is that one.

    Raises:
        UserError: saying what is wrong with it.
    """
    name, equals, folder = given.partition("=")
    shown = printable(given)
    if not equals or not NAME.fullmatch(name) or not folder:
        raise UserError(
            f"'{shown}' is no method; give NAME=FOLDER, the name of letters, digits and . _ + - (at most 40)"
        )
    path = Path(folder)
    if not os.path.isdir(path):
        raise UserError(f"method {name}: {printable(folder)} is no folder; its outputs are looked for in {LAYOUT}")
    if os.path.isfile(path / BATCH):
        known = read_json_object(path / BATCH).get("variants")
        variants = sorted(known) if isinstance(known, dict) else []
        if len(variants) != 1:
            some = ", ".join(map(printable, variants[:8])) or "none"
            raise UserError(
                f"method {name}: {printable(folder)} is a batch of {len(variants)} variants ({some}); "
                f"give each as a method of its own, such as NAME={printable(os.path.join(folder, *variants[:1]))}"
            )
        path = inside(path, variants[0])
    return Method(name, path)
