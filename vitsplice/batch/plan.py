"""What a batch is: pairs, variants of the settings, and the folders that the runs go to."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.contracts import Job
from vitsplice.datasets import read
from vitsplice.engine.problem import check_parts
from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.presets import loading as settings_yaml
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import RunFolder
from vitsplice.support.files import inside, inside_file, read_regular, write_atomically

BATCH, RESULTS, FAILURES, STOP = "batch.json", "results.jsonl", "failures.jsonl", ".stop"
FORMAT = 1


@dataclass(frozen=True)
class Variant:
    """Settings that every pair is run with.

    Args:
        name: of the folder that its runs lie in.
        settings: of each run.
    """

    name: str
    settings: RunConfig


@dataclass(frozen=True)
class Batch:
    """Every pair with every variant.

    Args:
        out: the folder of it all, absolute.
        manifest: of the pairs, absolute.
        variants: at least one.
        threads: of the CPU that each run uses.
    """

    out: Path
    manifest: Path
    variants: tuple[Variant, ...]
    threads: int

    def jobs(self) -> Iterator[Job]:
        """All jobs, variant by variant, so that a process keeps to one backbone; the manifest is read for each.

        Raises:
            PathRejected: if the folder of a run is not in that of the batch.
        """
        out, stop = str(self.out), str(self.stop)
        for variant in self.variants:
            settings = variant.settings.model_dump_json()
            for pair in read(self.manifest, unique=False):
                images = {role: os.path.abspath(path) for role, path in pair.images.items()}
                where = inside(out, folder(variant.name, pair.id))
                yield Job(f"{variant.name}/{pair.id}", str(where), images, settings, self.threads, stop)

    @property
    def stop(self) -> Path:
        """The file that tells running jobs to keep where they stand and end."""
        return self.out / STOP


def folder(variant: str, pair: str) -> str:
    """Where a run lies below the folder of its batch: ``VARIANT/SHARD/ID``."""
    return f"{variant}/{place(pair)}"


def place(pair: str) -> str:
    """Where the run of a pair lies below the folder of its variant: ``SHARD/ID``.

    The shard is the first three digits of the SHA-256 of the id, so that of a million pairs no folder has more than
    4,096 others in it, and a pair's place depends on nothing but its id.
    """
    return f"{hashlib.sha256(pair.encode()).hexdigest()[:3]}/{pair}"


def parts(job: str) -> tuple[str, str]:
    """Variant and pair, of the id of a job."""
    variant, _, pair = job.partition("/")
    return variant, pair


def variants(
    presets: Sequence[str],
    backbones: Sequence[str] = (),
    seeds: Sequence[int] = (),
    **settings: Any,
) -> tuple[Variant, ...]:
    """Every preset with every backbone and every seed, named after those of them that were given.

    Args:
        presets: names or YAML files.
        backbones, seeds: none leaves those of the preset.
        settings: see `vitsplice.api.settings_for`.

    Raises:
        ConfigError, UnknownName: as `vitsplice.api.settings_for`.
        UserError: if two variants would have one name.
    """
    found: dict[str, Variant] = {}
    either: tuple[Sequence[str | None], Sequence[int | None]] = (backbones or [None], seeds or [None])
    for preset, backbone, seed in itertools.product(presets, *either):
        parts = [Path(preset).stem if preset.endswith((".yaml", ".yml")) else Path(preset).name]
        parts += [backbone] if backbone is not None else []
        parts += [f"seed{seed}"] if seed is not None else []
        name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip(".-") for part in parts)
        if name in found:
            raise UserError(
                f"two variants of this batch would be called '{name}'; give each preset, backbone and seed once"
            )
        found[name] = Variant(name, settings_for(preset, backbone=backbone, seed=seed, **settings))
        _look_up(found[name].settings)
    return tuple(found.values())


def _look_up(settings: RunConfig) -> None:
    """Raises UnknownName or ConfigError now rather than for every pair."""
    known = catalogue()
    if not settings.backbone.fallback:
        known.backbone(settings.backbone.name)
    check_parts(settings, known)


def plan(out: Path, manifest: Path, wanted: Iterable[Variant], threads: int) -> Batch:
    """Write what a batch is to its folder, or go on with the one that is there. Call it with the folder locked.

    Raises:
        UserError: if what is there has other settings, or leads out of the folder.
        VitspliceError: if it cannot be written.
    """
    for name in (BATCH, RESULTS, FAILURES, STOP):
        inside_file(out, name)
    batch = Batch(out.absolute(), manifest.absolute(), tuple(wanted), threads)
    known = _known(batch.out)
    _check(batch, known)
    ours = {variant.name: variant.settings.model_dump(mode="json") for variant in batch.variants}
    content = {"format": FORMAT, "threads": threads, "variants": known.get("variants", {}) | ours}
    if content != known:
        try:
            write_atomically(batch.out / BATCH, (json.dumps(content, indent=2) + "\n").encode())
        except OSError as error:
            raise VitspliceError(f"cannot write {batch.out / BATCH}: {error.strerror or error}") from error
    return batch


def threads_of(out: Path) -> int:
    """The number of threads of a batch that was begun, or 0."""
    return int(_known(out).get("threads", 0))


def _known(out: Path) -> dict[str, Any]:
    """What the file of a batch says, or nothing if there is none. Raises UserError if it cannot be read."""
    path = out / BATCH
    try:
        known = json.loads(read_regular(path))
        if known["format"] == FORMAT and isinstance(known["threads"], int) and isinstance(known["variants"], dict):
            return dict(known)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{path} does not say what the batch in {out} is; choose another folder")


def _check(batch: Batch, known: dict[str, Any]) -> None:
    """Raises UserError unless what is there can be gone on with."""
    others = [name for name in (RESULTS, *(variant.name for variant in batch.variants)) if (batch.out / name).exists()]
    if others and not known:
        raise OutputExists(f"{batch.out} has {others[0]} but no {BATCH} that tells its settings; choose another folder")
    if known and known["threads"] != batch.threads:
        raise OutputExists(
            f"the runs in {batch.out} have {known['threads']} threads each, and {batch.threads} give other bytes; "
            "give ",
            Argument("threads", known["threads"]),
            ", or choose another folder",
        )
    for variant in batch.variants:
        before = known.get("variants", {}).get(variant.name)
        if before is not None and settings_yaml.validate(before, str(batch.out / BATCH)) != variant.settings:
            changed = _changed(before, variant.settings.model_dump(mode="json"))
            raise OutputExists(
                f"{batch.out} has runs of '{variant.name}' with other settings ({changed}); "
                "give the settings that it was begun with, or choose another folder"
            )


def _changed(before: Any, now: Any, key: str = "") -> str:
    """The first setting that differs, as ``dotted.key: before, now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *now]:
            if before.get(name) != now.get(name):
                return _changed(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    return f"{key}: {before}, now {now}"


def make_folder(out: Path) -> None:
    """Make the folder of a batch, or take one that is there. Raises UserError if it cannot be used."""
    RunFolder.create(out, force=True)


def stop(out: Path) -> None:
    """Tell the running jobs of a batch to keep where they stand and end; where that cannot be, they go on to theirs."""
    with suppress(OSError):
        (out / STOP).touch()
