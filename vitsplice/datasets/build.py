"""A manifest of the pairs of a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vitsplice.datasets.ids import Ids
from vitsplice.datasets.manifest import Pair, write
from vitsplice.datasets.pairing import Choice, by_chance, by_name, every
from vitsplice.datasets.sources import Found, Group, find
from vitsplice.errors import Argument, UserError
from vitsplice.support.output_folder import check_file
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable

MOST = 1_000_000
"""Pairs in a manifest that is made here."""

Chosen = list[tuple[Group, Path, list[Path]]]
"""Structure images with their appearance images."""


@dataclass(frozen=True)
class Plan:
    """What is to be paired with what, and how.

    Args:
        place, appearance: as `vitsplice.datasets.sources.find` takes them.
        by: ``similarity``, ``random``, ``all`` or ``name``; None for what suits the source.
        k: appearance images for each structure image, by similarity and at random; None is 1.
        seed: of chance; None is 0.
        backbone: that tells similarity; None for that of the default preset, with its fallback.
        device: see `vitsplice.engine.device.pick_device`.
        licence, source: of all pairs. Without a source, a group's name is its pairs' source.
    """

    place: Path
    appearance: Path | None = None
    by: str | None = None
    k: int | None = None
    seed: int | None = None
    backbone: str | None = None
    device: str = "auto"
    licence: str = ""
    source: str = ""


@dataclass(frozen=True)
class _Way:
    """How a source is paired, with what was left open filled in; ``by`` is "" if it pairs its images itself."""

    by: str
    k: int
    seed: int


def build(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> int | None:
    """Write the manifest of a source; the same source and plan give the same manifest.

    Args:
        plan: what is to be paired.
        out: the manifest, .csv or .jsonl.
        force: replace one that is there.
        progress: told of the images that similarity looks at; if it stops them, what has been looked at is kept beside
            the manifest.

    Returns:
        How many pairs, or None if it was stopped.

    Raises:
        OutputExists: if there is one and ``force`` is not given.
        UserError: if the plan or the source is not sound, or there is nothing to pair.
        VitspliceError: if the backbone cannot be had, or the manifest cannot be written.
    """
    target = _target(Path(out), force=force)
    found = find(plan.place, plan.appearance)
    way = _way(plan, found)
    progress.note(f"{_sources(plan)}: read as {found.layout}")
    _note_missing(found, progress.note)
    if found.pairs:
        pairs = [replace(pair, licence=plan.licence, source=plan.source) for pair in found.pairs]
        write(target, pairs)
        return len(pairs)
    chosen = _chosen(plan, way, found.groups, target, progress)
    if chosen is None:
        return None
    _note_fewer(chosen, way, progress.note)
    write(target, _pairs(chosen, plan))
    _kept(target).unlink(missing_ok=True)
    return sum(len(appearances) for _, _, appearances in chosen)


def _target(out: Path, *, force: bool) -> Path:
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(f"{printable(str(out))}: the name of a manifest ends in .csv or .jsonl")
    return check_file(out, "manifest, such as pairs.csv", force=force)


def _sources(plan: Plan) -> str:
    return " and ".join(printable(str(path)) for path in (plan.place, plan.appearance) if path is not None)


def _kept(target: Path) -> Path:
    """The file of features beside a manifest that is not finished."""
    return target.with_name(f".{target.name}.features.jsonl")


def _way(plan: Plan, found: Found) -> _Way:
    """As the plan or else the source has it. Raises UserError for what does not go together."""
    by = plan.by or found.by
    if not found.by and plan.by:
        where = f"{printable(str(plan.place))} is {found.layout}"
        raise UserError(Argument("by", plan.by), f" has no use: {where}, which pairs them")
    if by == "name" and any(group.structures == group.appearances for group in found.groups):
        raise UserError(
            Argument("by", "name"), " needs two folders: one of structure images, then one of appearance images"
        )
    for option, given, of in (
        ("k", plan.k, ("similarity", "random")),
        ("seed", plan.seed, ("random",)),
        ("backbone", plan.backbone, ("similarity",)),
    ):
        if given is not None and by not in of:
            how = Argument("by", by) if by else "a source that pairs its images itself"
            it = f"; it belongs to {' and '.join(of)}"
            raise UserError(Argument(option), " has no use with ", how, it)
    way = _Way(by, plan.k or 1, plan.seed or 0)
    pairs = sum(len(group.structures) * _at_most(way, group) for group in found.groups)
    if pairs > MOST:
        raise UserError(
            Argument("by", by),
            f" would make about {pairs} pairs, more than {MOST}; try ",
            Argument("by", "random"),
            " with ",
            Argument("k", 1),
        )
    return way


def _at_most(way: _Way, group: Group) -> int:
    """Appearance images for each structure image."""
    number = {"all": len(group.appearances), "name": 1}.get(way.by, way.k)
    return min(number, len(group.appearances))


def _chosen(
    plan: Plan,
    way: _Way,
    groups: tuple[Group, ...],
    target: Path,
    progress: ProgressReporter,
) -> Chosen | None:
    """Which goes with which, or None if it was stopped. Raises UserError if nothing goes with anything."""
    if way.by == "similarity":
        from vitsplice.datasets.similarity import similar

        chosen = similar(groups, way.k, plan.backbone, plan.device, _kept(target), progress)
    else:
        chosen = [(group, *choice) for group in groups for choice in _choices(way, group)]
    if chosen is not None and not any(appearances for _, _, appearances in chosen):
        images = len({path for group in groups for path in (*group.structures, *group.appearances)})
        raise UserError(
            f"there is nothing to pair in {printable(str(plan.place))}: of {images} image(s), no structure image "
            "has an appearance image that can be read and is not itself"
        )
    return chosen


def _choices(way: _Way, group: Group) -> Iterator[Choice]:
    if way.by == "random":
        return by_chance(group, way.k, way.seed)
    return by_name(group) if way.by == "name" else every(group)


def _pairs(chosen: Chosen, plan: Plan) -> Iterator[Pair]:
    ids = Ids()
    for group, structure, appearances in chosen:
        mask, inside = group.masks.get(structure), [group.name] if group.name else []
        for appearance in appearances:
            name = ids(*inside, *dict.fromkeys((structure.stem, appearance.stem)))
            yield Pair(name, structure, appearance, mask, None, plan.licence, plan.source or group.name)


def _note_missing(found: Found, note: Callable[[str], object]) -> None:
    """Lists may name images that are not there."""
    listed = [path for pair in found.pairs for path in pair.images.values()]
    for group in found.groups:
        listed += [*group.structures, *group.appearances, *group.masks.values()]
    missing = [path for path in dict.fromkeys(listed) if not os.path.isfile(path)]
    if missing:
        note(
            f"{len(missing)} of the files it names are not there, such as {printable(str(missing[0]))}; "
            "`vitsplice pairs check` names all"
        )


def _note_fewer(chosen: Chosen, way: _Way, note: Callable[[str], object]) -> None:
    alone = [structure for _, structure, appearances in chosen if not appearances]
    if alone:
        note(f"{len(alone)} structure images have no appearance image, such as {printable(str(alone[0]))}")
    if way.by in ("similarity", "random"):
        fewer = sum(0 < len(appearances) < way.k for _, _, appearances in chosen)
        if fewer:
            note(f"{fewer} structure images have fewer than {way.k} appearance images: there are no more")
