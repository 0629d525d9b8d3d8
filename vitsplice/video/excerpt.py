"""Frames that are stored while a video is computed: a film for the report, and samples for the metrics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitsplice.images import encode_jpeg, encode_png
from vitsplice.support.output_folder import write
from vitsplice.video.colours import Pixels, as_tensor
from vitsplice.video.source import Frame
from vitsplice.video.work import EXCERPT

FILM = 48
"""Maximum number of frames of the film, from the first frame of the video."""

FILM_SIDE = 384
"""Maximum of the longer side of the frames of the film, in pixels."""

QUALITY = 80
"""JPEG quality of the frames of the film."""

SAMPLES = 6
"""Maximum number of frames that are measured, evenly spaced; only the first if the number of frames is unknown."""


@dataclass(frozen=True)
class Excerpt:
    """The stored frames of a video.

    Args:
        folder: folder of the work.
        expected: number of frames of the video (`vitsplice.video.source.VideoInfo`); 0 if unknown.
    """

    folder: Path
    expected: int

    def add(self, frames: Sequence[Frame], outputs: Sequence[Pixels]) -> None:
        """Store the frames of a segment that belong to the film or to the samples."""
        files: dict[str, bytes] = {}
        for frame, output in zip(frames, outputs, strict=True):
            for when, pixels in (("before", frame.pixels), ("after", output)):
                name = f"{frame.index:05d}-{when}"
                if frame.index < FILM:
                    files[f"{name}.jpg"] = encode_jpeg(as_tensor(pixels), FILM_SIDE, QUALITY)
                if frame.index in self._sample_indices():
                    files[f"{name}.png"] = encode_png(as_tensor(pixels))
        write(self.folder / EXCERPT, files)

    def holds(self, frames: int) -> bool:
        """Return whether all files that `add` stored for the first ``frames`` frames of the video still exist."""
        stored = [(index, "jpg") for index in range(min(frames, FILM))]
        stored += [(index, "png") for index in self._sample_indices() if index < frames]
        names = [f"{index:05d}-{when}.{suffix}" for index, suffix in stored for when in ("before", "after")]
        return all(os.path.isfile(self.folder / EXCERPT / name) for name in names)

    def film(self) -> tuple[list[bytes], list[bytes]]:
        """Return the frames of the film as JPEG: of the input, and of the output."""
        before, after = ([path.read_bytes() for path in self._files(f"*-{when}.jpg")] for when in ("before", "after"))
        return before, after

    def samples(self) -> list[tuple[int, Path, Path]]:
        """Return for each sample the number of the frame, and the PNG files of its input and output."""
        return [
            (int(path.name.partition("-")[0]), path, path.with_name(path.name.replace("before", "after")))
            for path in self._files("*-before.png")
        ]

    def _sample_indices(self) -> set[int]:
        last = max(0, self.expected - 1)
        return {round(last * number / (SAMPLES - 1)) for number in range(SAMPLES)}

    def _files(self, pattern: str) -> list[Path]:
        return sorted((self.folder / EXCERPT).glob(pattern))
