"""The plan of a batch: its pairs, the variants of the settings, and the folder of each run."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from vitsplice.config import RunConfig
from vitsplice.contracts import Job
from vitsplice.datasets import read
from vitsplice.engine.problem import check_before_loading
from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import validate
from vitsplice.presets.settings import settings_for
from vitsplice.runs.inputs import region_masks
from vitsplice.support import output_folder
from vitsplice.support.files import absolute, folder_name, inside, inside_file, read_json_object
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.resumable_work import differences, other_format
from vitsplice.text import printable, with_count

BATCH, RESULTS, FAILURES, STOP = "batch.json", "results.jsonl", "failures.jsonl", ".stop"
FORMAT = 2


@dataclass(frozen=True)
class Batch:
    """Every pair of a manifest with every variant.

    Args:
        out: folder of the batch, absolute.
        manifest: file of the pairs, absolute.
        variants: settings of each variant by its name, which is also the name of its folder.
        threads: CPU threads of each run.
    """

    out: Path
    manifest: Path
    variants: Mapping[str, RunConfig]
    threads: int

    def jobs(self) -> Iterator[Job]:
        """Yield all jobs, variant by variant, so that a process rarely changes its backbones.

        The manifest is read again for each variant.

        Raises:
            PathRejected: if the folder of a run is not inside ``out``.
            ConfigError, UserError: as `vitsplice.datasets.read`.
        """
        out, stop = str(self.out), str(self.stop)
        for variant, settings in self.variants.items():
            settings_json = settings.model_dump_json()
            for pair in read(self.manifest, unique=False):
                paths = pair.images | region_masks(pair.regions)
                yield Job(
                    id=f"{variant}/{pair.id}",
                    folder=str(inside(out, run_folder(variant, pair.id))),
                    images={name: str(absolute(path)) for name, path in paths.items()},
                    settings=settings_json,
                    threads=self.threads,
                    stop=stop,
                    weights=pair.weights,
                    regions=tuple(int(region.appearance) for region in pair.regions),
                )

    @property
    def stop(self) -> Path:
        """The file that makes running jobs write a checkpoint and end."""
        return self.out / STOP


class BatchFile(BaseModel, extra="forbid", strict=True):
    """The content of ``batch.json``: threads, pairs and variants of a batch, and the version that created the file.

    ``pairs`` is the number of pairs in the latest manifest; 0: unknown.
    """

    format: int = FORMAT
    versions: dict[str, str] = Field(default_factory=lambda: {"vitsplice": version("vitsplice")})
    threads: int = Field(ge=1)
    pairs: int = Field(0, ge=0)
    variants: dict[str, dict[str, Any]]


def run_folder(variant: str, pair_id: str) -> str:
    """Return the folder of a run, relative to that of the batch: ``VARIANT/SHARD/ID``."""
    return f"{variant}/{pair_folder(pair_id)}"


def pair_folder(pair_id: str) -> str:
    """Return the folder of a pair's run, relative to that of its variant: ``SHARD/ID``.

    The shard is the first three hexadecimal digits of the SHA-256 of the id: it depends on nothing else, and spreads
    the pairs over 4,096 folders.
    """
    return f"{hashlib.sha256(pair_id.encode()).hexdigest()[:3]}/{pair_id}"


def variants(
    presets: Sequence[str],
    backbones: Sequence[str] = (),
    seeds: Sequence[int] = (),
    **settings: Any,
) -> dict[str, RunConfig]:
    """Combine every preset with every backbone and seed, and return the settings of each variant by its name.

    Args:
        presets: names of presets, or paths of YAML files or model folders.
        backbones: names of backbones, each in place of the preset's first one; if empty, the preset's are used.
        seeds: seeds of runs; if empty, the seed of the preset is used.
        settings: further arguments of `vitsplice.api.settings_for`.

    Raises:
        ConfigError, UnknownName: as `vitsplice.api.settings_for`, or for a part that is not registered.
        UserError: if a variant would have no name, or the name of another variant or of a file of the batch.
    """
    combined: dict[str, RunConfig] = {}
    choices: tuple[Sequence[str | None], Sequence[int | None]] = (backbones or [None], seeds or [None])
    for preset, backbone, seed in itertools.product(presets, *choices):
        parts = [Path(preset).stem if preset.endswith((".yaml", ".yml")) else folder_name(Path(preset))]
        parts += [backbone] if backbone is not None else []
        parts += [f"seed{seed}"] if seed is not None else []
        name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip(".-") for part in parts)
        if not name:
            raise UserError(f"preset '{printable(preset)}' gives no folder name; rename it with letters or digits")
        if name in (BATCH, RESULTS, FAILURES):
            raise UserError(
                f"preset '{printable(preset)}' would have a folder '{name}', but a batch has a file of this name; "
                "rename the preset"
            )
        if name in combined:
            raise UserError(
                f"two variants would have the name '{name}'; give each preset, backbone and seed once, and presets "
                "whose files have different names"
            )
        combined[name] = settings_for(preset, backbone=backbone, seed=seed, **settings)
        check_before_loading(combined[name], catalogue())
    return combined


def open_batch(out: Path, manifest: Path, variants: Mapping[str, RunConfig], threads: int, pairs: int = 0) -> Batch:
    """Create or update ``batch.json``. Variants of earlier calls are removed from it if they have no runs.

    The caller must hold the lock of the folder.

    Args:
        out, manifest, variants, threads: see `Batch`; the paths may be relative.
        pairs: number of pairs of the manifest; 0: unknown.

    Raises:
        OutputExists: if the runs in the folder have another number of threads, or other settings of a variant; or if
            the folder has results, failures or the folder of a variant, but no ``batch.json``.
        UserError: if ``batch.json`` is invalid or has another format, a folder, a dangling link or a link out of
            ``out`` has the name of a file of the batch, or the manifest is one of these files.
        VitspliceError: if ``batch.json`` cannot be written, or the folder cannot be listed.
    """
    files = [inside_file(out, name) for name in (BATCH, RESULTS, FAILURES, STOP)]
    check_inputs_survive([manifest], files)
    batch = Batch(out.absolute(), manifest.absolute(), variants, threads)
    stored = read_batch_file(batch.out)
    if stored is None:
        stored = BatchFile(threads=threads, variants={})
        for name in (RESULTS, FAILURES, *variants):
            if os.path.exists(batch.out / name):
                raise OutputExists(f"{batch.out} holds {name} but no {BATCH} with the settings; choose another folder")
    with_runs = _variants_with_runs(batch.out, stored)
    _check_unchanged(batch, stored, with_runs)
    before = {name: settings for name, settings in stored.variants.items() if name in with_runs}
    new = {name: settings.model_dump(mode="json") for name, settings in variants.items()}
    content = stored.model_copy(update={"threads": threads, "pairs": pairs, "variants": before | new})
    if content != stored or not os.path.exists(batch.out / BATCH):
        output_folder.write(batch.out, {BATCH: f"{content.model_dump_json(indent=2)}\n".encode()})
    return batch


def stored_threads(out: Path) -> int:
    """Return the number of threads of each run in a folder; 0 without runs.

    Raises:
        UserError: as `read_batch_file`.
        VitspliceError: if the folder cannot be listed.
    """
    stored = read_batch_file(out)
    return stored.threads if stored and _variants_with_runs(out, stored) else 0


def read_batch_file(out: Path) -> BatchFile | None:
    """Read ``batch.json``; None if there is none. Raises UserError if it is invalid or has another format."""
    path = out / BATCH
    if not os.path.exists(path):
        return None
    content = read_json_object(path)
    if "format" in content and (reason := other_format(content, FORMAT)):
        raise UserError(f"cannot read {path}: {reason}. Choose another folder")
    try:
        return BatchFile.model_validate(content)
    except ValueError as error:
        raise UserError(f"{path} is not the file of a batch; choose another folder") from error


def _variants_with_runs(out: Path, stored: BatchFile) -> set[str]:
    """Return the variants that have a folder, which the first run of a variant creates. Raises as `names_in`."""
    return stored.variants.keys() & set(names_in(out))


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; [] if it is a file, or has been removed.

    Raises:
        VitspliceError: if the folder cannot be listed, for example because a file server fails.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problem = f"cannot list the runs in {folder}: {error.strerror or error}"
        raise VitspliceError(f"{problem}; run the same command again when the folder can be read") from error


def _check_unchanged(batch: Batch, stored: BatchFile, with_runs: Set[str]) -> None:
    """Raise OutputExists if the runs in the folder have other threads, or other settings (except ``preset``)."""
    if with_runs and stored.threads != batch.threads:
        raise OutputExists(
            f"the runs in {batch.out} use {with_count(stored.threads, 'thread')} each; with {batch.threads}, the "
            "outputs would have other bytes. Give ",
            Argument("threads", stored.threads),
            ", or choose another folder",
        )
    for name, settings in batch.variants.items():
        if name not in with_runs:
            continue
        before = validate(stored.variants[name], str(batch.out / BATCH)).model_copy(update={"preset": settings.preset})
        if before != settings:
            both = before.model_dump(mode="json"), settings.model_dump(mode="json")
            key, old, new = next(differences(*both), ("", "", ""))
            raise OutputExists(
                f"{batch.out} holds runs of '{name}' with other settings ({key}: {old}, now {new}); "
                "give the same settings as before, or choose another folder"
            )


def request_stop(out: Path) -> None:
    """Make the running jobs of a batch write a checkpoint and end; if the folder is read-only, they are completed."""
    with suppress(OSError):
        (out / STOP).touch()
