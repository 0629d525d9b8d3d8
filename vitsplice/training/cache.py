"""A cache of tensors on disk: safetensors shards, each with a JSON file of its digest and the keys of its records.

A record is a few named tensors under a key, the digest of all that they depend on (`record_key`), so that several
trainings can share a folder. The JSON file of a shard is written last: a shard without one is not complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vitsplice.errors import Argument, TrainingCacheError
from vitsplice.runs.record import versions
from vitsplice.support import output_folder
from vitsplice.support.files import file_sha256, inside, json_sha256, read_json_object, temporary_files
from vitsplice.support.folder_lock import FolderLock
from vitsplice.text import printable

FORMAT = 1

SHARD_BYTES, SHARD_RECORDS = 64 * 2**20, 512
"""A shard is written when its records reach `SHARD_BYTES` bytes, or when there are `SHARD_RECORDS` records."""

OPEN_SHARDS = 64
"""Maximum number of shards that are mapped into memory; the least recently used one is closed for another."""

FREE = 2**29
"""Number of bytes on the disk that are left free."""

SHARD = re.compile(r"shard-(\d{6,})\.(json|safetensors)")
"""Pattern of the file names of a shard."""

Record = dict[str, Tensor]


def record_key(kind: str, **content: Any) -> str:
    """Return the key of a record: 128 bits of the SHA-256 of all that its tensors depend on.

    That includes the version of vitsplice, because versions may compute a warm start or a correspondence differently.

    Args:
        kind: kind of record.
        content: everything else that the tensors depend on, as data for JSON.
    """
    origin = {"format": FORMAT, "version": versions()["vitsplice"], "kind": kind}
    return json_sha256(origin | content)[:32]


class TensorCache:
    """Records in a folder. Complete shards are read; `add` collects records for a new shard.

    Reading is lazy: tensors are mapped into memory. The SHA-256 of a shard is checked before its first record is read.

    Args:
        folder: folder of the shards; it need not exist. Only one process may write: see `writing`.
        limit: maximum number of bytes of all shards.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._pending: dict[str, Record] = {}
        self._opened = lru_cache(OPEN_SHARDS)(self._open)
        self._checked: set[str] = set()
        self._load_index()

    def __contains__(self, key: str) -> bool:
        return key in self._records or key in self._pending

    def __getitem__(self, key: str) -> Record:
        """Return the tensors of a record, on the CPU; they must not be changed.

        Raises:
            KeyError: if there is no such record.
            TrainingCacheError: naming the file, if its shard is damaged.
        """
        if key in self._pending:
            return self._pending[key]
        shard_name, tensor_names = self._records[key]
        try:
            shard = self._opened(shard_name)
            return {name.partition("/")[2]: shard.get_tensor(name) for name in tensor_names}
        except (OSError, SafetensorError) as error:
            raise self._damaged(shard_name) from error

    @property
    def bytes(self) -> int:
        """Size of all complete shards in bytes."""
        return sum(self._sizes.values())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder for writing, and remove what a killed process left.

        Raises:
            OutputBusy: if another process is writing to the folder.
            UserError: if the folder cannot be written to.
            PathRejected: if a file to remove is a link to outside the folder.
        """
        output_folder.create(self.folder)
        with FolderLock(self.folder):
            try:
                self._load_index()
                incomplete = [path for path in self._shard_files() if path.stem not in self._sizes]
                for path in (*temporary_files(self.folder), *incomplete):
                    inside(self.folder, path.name).unlink(missing_ok=True)
            except OSError as error:
                cache = printable(str(self.folder))
                raise TrainingCacheError(
                    f"the cache {cache} cannot be used: {error.strerror}; choose another with ", Argument("cache")
                ) from error
            yield

    def add(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a record within `writing`, and write a shard when there are enough records for it.

        Raises:
            TrainingCacheError: if the disk is full, or the limit is reached.
            VitspliceError: if the shard cannot be written.
        """
        self._pending[key] = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        if self._pending_bytes() >= SHARD_BYTES or len(self._pending) >= SHARD_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Write the records that are not in a shard yet. Raises the errors of `add`."""
        if not self._pending:
            return
        if (needed := self._pending_bytes()) > self.available():
            raise TrainingCacheError(
                f"{format_size(needed)} of features of training images do not fit. {self.describe_space()}. Delete "
                "the cache if no training needs it, free space if its disk is full, or choose another cache with ",
                Argument("cache"),
            )
        shard = f"shard-{1 + max((int(name[6:]) for name in self._sizes), default=0):06d}"
        tensors = {f"{key}/{name}": value for key, record in self._pending.items() for name, value in record.items()}
        data = save(tensors)
        records = {key: sorted(record) for key, record in self._pending.items()}
        index = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "records": records}
        output_folder.write(self.folder, {f"{shard}.safetensors": data, f"{shard}.json": json.dumps(index).encode()})
        self._add_to_index(shard, index)
        self._pending.clear()

    def available(self) -> int:
        """Return the number of bytes that may be added: up to the limit, and leaving `FREE` bytes on the disk."""
        return max(0, min(self.limit - self.bytes, shutil.disk_usage(self.folder).free - FREE))

    def describe_space(self) -> str:
        """Describe the size of the cache and what limits it."""
        limit = format_size(self.limit)
        if self.available() < self.limit - self.bytes:
            limit = f"{format_size(self.bytes + self.available())}, all that fits on its disk"
        shown = printable(str(self.folder))
        return f"The cache {shown} holds {format_size(self.bytes)} of at most {limit}"

    def _load_index(self) -> None:
        self._records: dict[str, tuple[str, list[str]]] = {}  # by key: shard, and names of the tensors in it
        self._sizes: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._opened.cache_clear()
        for path in self._shard_files():
            if path.suffix == ".json" and path.with_suffix(".safetensors").is_file():
                self._add_to_index(path.stem, read_json_object(path))

    def _shard_files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("shard-*") if SHARD.fullmatch(path.name))

    def _add_to_index(self, shard: str, content: Mapping[str, Any]) -> None:
        """Add the records of a shard, given the content of its JSON file; ignore the shard if that is invalid."""
        try:
            names_by_key = content["records"].items()
            records = {str(key): (shard, [f"{key}/{name}" for name in names]) for key, names in names_by_key}
            size, digest = int(content["bytes"]), str(content["sha256"])
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
            return
        self._sizes[shard], self._digests[shard] = size, digest
        self._records |= records

    def _open(self, name: str) -> Any:
        """Map a shard into memory. Raises TrainingCacheError if its SHA-256, checked once, is not the stored one."""
        path = inside(self.folder, f"{name}.safetensors")
        if name not in self._checked and file_sha256(path) != self._digests[name]:
            raise self._damaged(name)
        self._checked.add(name)
        return safe_open(path, framework="pt")

    def _damaged(self, name: str) -> TrainingCacheError:
        path = printable(os.fspath(self.folder / f"{name}.safetensors"))
        return TrainingCacheError(f"{path} is damaged or was altered; delete it, then its features are computed again")

    def _pending_bytes(self) -> int:
        return sum(record_bytes(record.values()) for record in self._pending.values())


def record_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the size of tensors in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def format_size(size: float) -> str:
    """Format a size in bytes as GB or MB, for messages."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
