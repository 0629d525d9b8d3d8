"""The folder of the work on a video: finished segments, the state to resume from, and the records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.matching import Correspondence, MatchedImage
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.support.checkpoints import CheckpointFormat
from vitsplice.support.files import read_json_object
from vitsplice.support.resumable_work import ResumableWork
from vitsplice.video.outputs import Key

PLAN, RECORD, REPORT, PREVIEW, FLICKER = "plan.json", "video.json", "report.html", "preview.png", "flicker.csv"
SEGMENTS, CHECKPOINTS, EXCERPT = "segments", "checkpoint", "excerpt"

MAY_REPLACE = "replaces"
"""File whose presence means that the unfinished work may replace an existing output.

If the output is a folder of frames, the file contains, as text, the number of frames that this or earlier work wrote
there; empty: unknown."""

JOINED = "joined"
"""Name, without suffix, of the video file that joins all segments, before the file is moved to the output."""

_FILES = re.compile(r"joined\.\w+|\d{5,}\.nut|step-\d{8}\.(json|safetensors)|\d{5,}-(before|after)\.(png|jpg)")

SPOTS = "spots."
"""Prefix of the names of the tensors of small spots in a checkpoint."""


@dataclass
class State:
    """State of the work between two segments.

    Args:
        next: number of the next frame.
        sizes: size of each finished segment, in bytes.
        next_key: the next key frame, if it was computed.
        cuts: number of the first frame after each cut.
        errors: for pairs of consecutive frames: number of the first, warping error of the input, and of the output.
        seconds: time that the work has taken, in seconds.
    """

    next: int = 0
    sizes: list[int] = field(default_factory=list)
    next_key: Key | None = None
    cuts: list[int] = field(default_factory=list)
    errors: list[tuple[int, float, float]] = field(default_factory=list)
    seconds: float = 0.0

    def write(self, folder: Path, belongs_to: Mapping[str, str]) -> None:
        """Write the state as a checkpoint in the folder of the work; ``belongs_to``: see `CheckpointFormat.write`."""
        content = {
            "next": self.next,
            "sizes": self.sizes,
            "cuts": self.cuts,
            "errors": self.errors,
            "seconds": self.seconds,
            "key": None if self.next_key is None else _key_data(self.next_key),
        }
        tensors = {} if self.next_key is None else _key_tensors(self.next_key)
        CHECKPOINT.write(folder / CHECKPOINTS, self.next, belongs_to, content, tensors)


def _key_data(key: Key) -> dict[str, Any]:
    match = key.match
    others = [[other.grid, other.mirrored] for other in match.others] if match else []
    return {"match": match and {"grid": match.grid, "others": others}}


def _key_tensors(key: Key) -> dict[str, Tensor]:
    named = {"output": key.output, "maps": key.maps, "change": key.change}
    if key.match is not None:
        match = key.match
        named |= {"weights": match.weights, "similarity": match.similarity, "colours": match.colours}
        named |= {"included": match.included, "permitted": match.permitted}
        named |= {SPOTS + name: value for name, value in vars(match.spots).items()} if match.spots else {}
    return {name: value for name, value in named.items() if value is not None}


def _parse_state(content: dict[str, Any], tensors: dict[str, Tensor]) -> State:
    errors = [(int(number), float(source), float(output)) for number, source, output in content["errors"]]
    return State(
        next=int(content["next"]),
        sizes=[int(size) for size in content["sizes"]],
        next_key=None if content["key"] is None else _parse_key(content["key"], tensors),
        cuts=[int(number) for number in content["cuts"]],
        errors=errors,
        seconds=float(content["seconds"]),
    )


def _parse_key(data: dict[str, Any], tensors: dict[str, Tensor]) -> Key:
    match = _parse_match(data["match"], tensors) if data["match"] else None
    return Key(match, tensors["output"], tensors.get("maps"), tensors.get("change"))


def _parse_match(data: dict[str, Any], tensors: dict[str, Tensor]) -> Correspondence:
    spots = {name.removeprefix(SPOTS): value for name, value in tensors.items() if name.startswith(SPOTS)}
    return Correspondence(
        weights=tensors["weights"],
        similarity=tensors["similarity"],
        grid=_parse_grid(data["grid"]),
        others=tuple(MatchedImage(_parse_grid(grid), bool(mirrored)) for grid, mirrored in data["others"]),
        colours=tensors.get("colours"),
        spots=SmallSpots(**spots) if spots else None,
        included=tensors.get("included"),
        permitted=tensors.get("permitted"),
    )


def _parse_grid(sides: Sequence[int]) -> tuple[int, int]:
    height, width = sides
    return int(height), int(width)


def on_device(key: Key | None, device: torch.device) -> Key | None:
    """Move the tensors of a key frame to a device."""
    return key and _parse_key(_key_data(key), {name: tensor.to(device) for name, tensor in _key_tensors(key).items()})


def earlier_frames(folder: Path) -> int:
    """Return the largest number of frames that finished or unfinished work wrote to the output; 0 if unknown."""
    finished, replaced = read_json_object(folder / RECORD).get("frames"), 0
    with suppress(OSError, ValueError):
        replaced = int((folder / MAY_REPLACE).read_bytes())
    return max(replaced, finished if isinstance(finished, int) else 0)


def _clear(folder: Path) -> None:
    """Remove the files of a folder that the work on a video wrote, and the folder if it is then empty."""
    for path in folder.iterdir():
        if _FILES.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def remove_parts(folder: Path) -> None:
    """Remove what only unfinished work needs: checkpoints, segments, excerpt and `MAY_REPLACE`. May raise OSError."""
    for name in (CHECKPOINTS, SEGMENTS, EXCERPT):  # the checkpoints first, because they refer to the others
        if (part := folder / name).is_dir():
            _clear(part)
    (folder / MAY_REPLACE).unlink(missing_ok=True)


CHECKPOINT = CheckpointFormat("video", 2, _parse_state, selectable=False)

WORK = ResumableWork(
    name="video",
    plan_file=PLAN,
    parts=(SEGMENTS, CHECKPOINTS, EXCERPT),
    results=(RECORD, REPORT, PREVIEW, FLICKER, MAY_REPLACE),
    clear=_clear,
)
"""The work on a video; if anything in the plan differs, all segments are computed again."""
