"""Checkpoints: the state of long work in files, from which killed work resumes to the same bytes.

A checkpoint is two files: tensors in safetensors, everything else in JSON. The JSON is written last and holds the
digests of the tensors and of itself, so that an incomplete or altered checkpoint is refused. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vitsplice.errors import Argument, CheckpointRejected, MessagePart, VitspliceError, allocation_failure
from vitsplice.support.files import absolute, inside, json_sha256, read_regular, write_atomically

PATTERN = "step-*"
"""Pattern of the files of checkpoints, complete or not."""

JSON_PATTERN = f"{PATTERN}.json"
"""Pattern of the JSON files of checkpoints."""

MAX_CHECKPOINTS = 2
"""Maximum number of checkpoints in a folder; older ones are removed."""

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class CheckpointFormat(Generic[Parsed]):
    """Format of the checkpoints of one kind of work: reads and writes them.

    Args:
        work: name of the work in messages, such as ``run``.
        version: version of the format; checkpoints of other versions are refused.
        parse: function that converts the content of the JSON file and the tensors. It may raise a ValueError,
            LookupError, AttributeError, TypeError or OverflowError if they were not written by this kind of work.
        selectable: whether the user can choose the checkpoint to resume from.
        restarts: whether the work starts again if its checkpoints are removed.
    """

    work: str
    version: int
    parse: Callable[[dict[str, Any], dict[str, Tensor]], Parsed]
    selectable: bool = True
    restarts: bool = True

    def write(
        self,
        folder: Path,
        step: int,
        belongs_to: Mapping[str, str],
        content: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> None:
        """Write a checkpoint, then remove those of later steps and, of the others, all but the last `MAX_CHECKPOINTS`.

        Later ones exist if the work was resumed from an earlier checkpoint; they will be written again. The removal
        stops, without an error, at the first file that cannot be removed.

        Args:
            folder: folder of the checkpoints; created if it does not exist.
            step: number of steps taken, which determines the name of the files.
            belongs_to: digests of everything that the work depends on, by name.
            content: further JSON data.
            tensors: tensors on any device.

        Raises:
            VitspliceError: if the checkpoint cannot be written; no other is then removed.
        """
        path, tensors_path = (inside(folder, f"step-{step:08d}{end}") for end in (".json", ".safetensors"))
        data = save(unshared(tensors))
        digest = hashlib.sha256(data).hexdigest()
        complete = {"format": self.version, "tensors": digest, "belongs_to": dict(belongs_to), **content}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(tensors_path, data)
            write_atomically(path, json.dumps(complete | {"digest": json_sha256(complete)}).encode())
        except OSError as error:
            raise VitspliceError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
        earlier = [other.stem for other in checkpoint_files(folder) if other.stem < path.stem]
        remaining = {path.stem, *earlier[: MAX_CHECKPOINTS - 1]}
        with suppress(OSError):
            _remove(part for part in checkpoint_parts(folder) if part.stem not in remaining)

    def read(self, path: Path) -> tuple[Parsed, dict[str, str]]:
        """Read a checkpoint, given its JSON file; return the result of ``parse``, and its ``belongs_to``.

        Raises:
            CheckpointRejected: if it is missing, truncated, altered, or of another format or kind of work; the message
                names the file.
        """
        content, data = _read_files(path)
        if content.get("format") != self.version:
            raise CheckpointRejected(
                f"checkpoint {path} has format {content.get('format')}, of another version of vitsplice; this "
                f"version reads format {self.version}. Resume with the version that wrote it"
            )
        if content.get("tensors") != hashlib.sha256(data).hexdigest():
            raise CheckpointRejected(f"checkpoint {path.with_suffix('.safetensors')} is truncated or was altered")
        try:
            return self.parse(content, load(data)), dict(content["belongs_to"])
        except (ValueError, AttributeError, LookupError, TypeError, OverflowError, SafetensorError) as error:
            raise CheckpointRejected(f"checkpoint {path} is not a checkpoint of a {self.work}") from error

    def read_last(self, folder: Path) -> tuple[Parsed, dict[str, str]] | None:
        """Read the last checkpoint of a folder, as `read` does; None if there is none.

        Raises:
            CheckpointRejected: as `read`; the message also says which earlier checkpoint is valid, if any.
        """
        paths = checkpoint_files(folder)
        if not paths:
            return None
        try:
            return self.read(paths[0])
        except CheckpointRejected as error:
            older = next((path for path in paths[1:] if self._is_valid(path)), None)
            restart = f"; remove {folder / PATTERN} to start again" if self.restarts else ""
            advice: tuple[MessagePart, ...] = (f"No earlier checkpoint is valid{restart}",)
            if older:
                way = ("resume with ", Argument("resume", str(older))) if self.selectable else (f"remove {paths[0]}",)
                advice = ("An earlier checkpoint is valid; ", *way)
            raise CheckpointRejected(*error.parts, "\n", *advice) from error

    def resume(
        self,
        folder: Path,
        chosen: Path | None,
        current: Mapping[str, str],
        restore: Callable[[Parsed], object],
    ) -> None:
        """Restore work from the last checkpoint of a folder, or from a chosen one.

        Args:
            folder: folder of the checkpoints.
            chosen: path of the JSON file of a checkpoint; None: the last one.
            current: digests of everything that the work depends on, by name; they must equal those in the checkpoint.
            restore: function that loads the checkpoint into the work. It may raise a LookupError, ValueError or
                RuntimeError if the checkpoint does not fit. It is not called if there is no checkpoint.

        Raises:
            CheckpointRejected: as `read` and `read_last`, or if the checkpoint belongs to other work.
        """
        read = self.read(chosen) if chosen else self.read_last(folder)
        if read is None:
            return
        checkpoint, stored = read
        path = chosen or checkpoint_files(folder)[0]
        if differing := [name for name in {**stored, **current} if stored.get(name) != current.get(name)]:
            raise CheckpointRejected(
                f"checkpoint {path} belongs to another {self.work}, which differs in: {', '.join(differing)}"
            )
        try:
            restore(checkpoint)
        except (LookupError, ValueError, RuntimeError) as error:
            if allocation_failure(error):
                raise
            advice = "; resume from another checkpoint" if self.selectable else ""
            raise CheckpointRejected(f"checkpoint {path} does not fit its {self.work}{advice}") from error

    def _is_valid(self, path: Path) -> bool:
        try:
            self.read(path)
        except CheckpointRejected:
            return False
        return True


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move tensors to the CPU, and copy those that share memory with another one, which safetensors refuses."""
    addresses: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        moved = tensor.detach().cpu().contiguous()
        address = moved.untyped_storage().data_ptr()
        result[name] = moved.clone() if address in addresses else moved
        addresses.add(address)
    return result


def folder_and_checkpoint(path: Path) -> tuple[Path, Path | None]:
    """Split the value of ``--resume`` into the folder of the work, and the path of a checkpoint or None.

    The value is FOLDER, or FOLDER/checkpoint/step-*.json.
    """
    if not path.match(JSON_PATTERN) or os.path.isdir(path):
        return path, None
    return absolute(path).parent.parent, path


def checkpoint_files(folder: Path) -> list[Path]:
    """List the JSON files of the checkpoints in a folder, latest first."""
    return sorted(folder.glob(JSON_PATTERN), reverse=True)


def checkpoint_parts(folder: Path) -> list[Path]:
    """List all files of checkpoints, complete or not: the earliest first, and each JSON file before its tensors."""
    return sorted(path for path in folder.glob(PATTERN) if path.suffix in (".json", ".safetensors"))


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a folder, the last one last, and the folder if it is then empty. May raise OSError."""
    _remove(checkpoint_parts(folder))
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _read_files(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read the content of the JSON file and the bytes of the tensors, and check the digest of the JSON file."""
    try:
        content = json.loads(read_regular(path))
        digest = content.pop("digest")
        data = read_regular(path.with_suffix(".safetensors"))
    except OSError as error:
        raise CheckpointRejected(f"checkpoint {error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointRejected(f"{path} is truncated or not a checkpoint") from error
    if digest != json_sha256(content):
        raise CheckpointRejected(f"checkpoint {path} was altered")
    return content, data


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
