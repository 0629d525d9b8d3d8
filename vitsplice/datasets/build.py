"""Building a manifest of the pairs of a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vitsplice.datasets.image_cache import lock_name
from vitsplice.datasets.manifest import PairIds, write
from vitsplice.datasets.pair import TEXTS, Pair, check_text
from vitsplice.datasets.pairing import Pairing, pair_all, pair_at_random, pair_by_name
from vitsplice.datasets.sources import ImageGroup, SourceContents, read_source
from vitsplice.errors import Argument, UserError
from vitsplice.support.files import MAX_NAME_BYTES
from vitsplice.support.output_folder import check_file, created
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable, with_count

MAX_PAIRS = 1_000_000
"""Maximum number of pairs of a manifest that `build` writes."""

WAYS = ("similarity", "random", "all", "name")
"""Ways to pair images."""

GroupPairings = list[tuple[ImageGroup, Pairing]]


@dataclass(frozen=True)
class BuildOptions:
    """A source and the way to pair its images.

    Args:
        path: the source, see `vitsplice.datasets.sources.read_source`.
        appearance: appearance images, see `vitsplice.datasets.sources.read_source`.
        by: way to pair: ``similarity``, ``random``, ``all`` or ``name``; None: the default of the source.
        k: maximum number of appearance images for each structure image by ``similarity`` or ``random``, at least 1;
            None is 1.
        seed: seed of ``random``; None is 0.
        backbone: backbone of ``similarity``; None: the backbone of the default preset, or its fallback.
        device: see `vitsplice.engine.device.pick_device`.
        licence: licence of all pairs.
        source: origin of all pairs; if empty, the origin of a pair is the name of its group (see `ImageGroup`).

    Raises:
        UserError: if ``by`` is not in `WAYS`, ``k`` is below 1, or the licence or the source cannot be recorded.
    """

    path: Path
    appearance: Path | None = None
    by: str | None = None
    k: int | None = None
    seed: int | None = None
    backbone: str | None = None
    device: str = "auto"
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.by is not None and self.by not in WAYS:
            raise UserError(Argument("by"), f" must be {', '.join(WAYS[:-1])} or {WAYS[-1]}, not {self.by!r}")
        if self.per_structure < 1:
            raise UserError(Argument("k"), f" must be at least 1, not {self.k}")
        for name in TEXTS:
            check_text(name, getattr(self, name))

    @property
    def per_structure(self) -> int:
        """Maximum number of appearance images for each structure image by ``similarity`` or ``random``."""
        return 1 if self.k is None else self.k


def build(
    options: BuildOptions,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> int | None:
    """Write the manifest of a source; the same source and options give the same manifest.

    Args:
        options: source and pairing.
        out: path of the manifest, .csv or .jsonl.
        force: replace an existing manifest.
        progress: reports the images whose features are computed. If it stops the work, computed features stay in a
            cache beside the manifest.

    Returns:
        Number of pairs, or None if the progress reporter stopped the work.

    Raises:
        OutputExists: if the manifest exists and ``force`` is not given.
        UserError: if the options or the source are invalid, or there is nothing to pair.
        VitspliceError: if the backbone is unavailable, or the manifest cannot be written.
    """
    target = Path(out)
    if target.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(f"{printable(str(out))}: the name of a manifest must end in .csv or .jsonl")
    check_file(target, "manifest, such as pairs.csv", force=force)
    contents = read_source(options.path, options.appearance)
    options = _completed(options, contents)
    paths = [printable(str(path)) for path in (options.path, options.appearance) if path is not None]
    progress.note(f"{' and '.join(paths)}: read as {contents.layout}")
    _note_missing(contents, progress.note)
    if note := contents.note_on_ignored:
        progress.note(note)
    if contents.pairs:
        write(target, [replace(pair, licence=options.licence, source=options.source) for pair in contents.pairs])
        return len(contents.pairs)
    cache = target.with_name(f".{target.name}.features.jsonl")
    if options.by == "similarity":
        _check_cache_name(cache)
    with created(target.parent):
        pairings = _pairings(options, contents.groups, cache, progress)
    if pairings is None:
        return None
    _note_fewer(pairings, options, progress.note)
    write(target, _pairs(pairings, options))
    _remove_cache(cache, options)
    return sum(len(appearances) for _, (_, appearances) in pairings)


def _check_cache_name(cache: Path) -> None:
    """Raise UserError if the name of the cache or of its lock is too long; both contain the name of the manifest."""
    excess = len(os.fsencode(lock_name(cache))) - MAX_NAME_BYTES
    if excess > 0:
        raise UserError(
            "the name of the manifest is too long, because the name of its cache of features contains it; shorten it "
            f"by {with_count(excess, 'byte')}"
        )


def _completed(options: BuildOptions, contents: SourceContents) -> BuildOptions:
    """Fill in the default pairing. Raises UserError for options that do not apply to the source, or too many pairs."""
    by = options.by or contents.default_by
    if options.by and not contents.default_by:
        layout = f"{printable(str(options.path))} is {contents.layout}, which defines the pairs"
        raise UserError(Argument("by", options.by), f" has no effect: {layout}")
    if by == "name" and any(group.structures == group.appearances for group in contents.groups):
        raise UserError(
            Argument("by", "name"),
            " needs two different folders: one of structure images, then one of appearance images",
        )
    for option, value, ways in (
        ("k", options.k, ("similarity", "random")),
        ("seed", options.seed, ("random",)),
        ("backbone", options.backbone, ("similarity",)),
    ):
        if value is not None and by not in ways:
            way = Argument("by", by) if by else "a source that defines the pairs"
            allowed = [part for each in ways for part in (" or ", Argument("by", each))][1:]
            raise UserError(Argument(option), " applies only to ", *allowed, ", not to ", way)
    options = replace(options, by=by)
    _check_pair_count(options, contents)
    return options


def _check_pair_count(options: BuildOptions, contents: SourceContents) -> None:
    """Raise UserError if an upper bound of the number of pairs exceeds `MAX_PAIRS`; nothing is paired yet."""
    per_structure = None if options.by == "all" else options.per_structure
    pairs = sum(len(group.structures) * len(group.appearances[:per_structure]) for group in contents.groups)
    pairs += len(contents.pairs)
    if pairs <= MAX_PAIRS:
        return
    fewest = len(contents.pairs) + sum(len(group.structures) for group in contents.groups)
    advice = (
        ("try ", Argument("by", "random"), " with ", Argument("k", 1))
        if fewest <= MAX_PAIRS
        else ("split it into several sources",)
    )
    source = printable(str(options.path))
    raise UserError(f"{source} would give about {pairs:,} pairs, more than {MAX_PAIRS:,}; ", *advice)


def _pairings(
    options: BuildOptions, groups: tuple[ImageGroup, ...], cache: Path, progress: ProgressReporter
) -> GroupPairings | None:
    """Pair the images; None if the progress reporter stopped the work. Raises UserError if no image has a partner."""
    number = options.per_structure
    if options.by == "similarity":
        from vitsplice.datasets.similarity import pair_by_similarity

        pairings = pair_by_similarity(groups, number, options.backbone, options.device, cache, progress)
        if pairings is None:
            return None
    else:
        ways: dict[str | None, Callable[[ImageGroup], Iterator[Pairing]]] = {
            "random": lambda group: pair_at_random(group, number, options.seed or 0),
            "name": pair_by_name,
            "all": pair_all,
        }
        pairings = [(group, pairing) for group in groups for pairing in ways[options.by](group)]
    if not any(appearances for _, (_, appearances) in pairings):
        _remove_cache(cache, options)
        images = len({path for group in groups for path in (*group.structures, *group.appearances)})
        raise UserError(
            f"there is nothing to pair in {printable(str(options.path))}: of {with_count(images, 'image')}, no "
            "structure image has a different appearance image that can be read"
        )
    return pairings


def _remove_cache(cache: Path, options: BuildOptions) -> None:
    """Remove the cache of features after pairing by similarity.

    After any other pairing, an existing cache stays: an interrupted build by similarity wrote it.
    """
    if options.by == "similarity":
        cache.unlink(missing_ok=True)


def _pairs(pairings: GroupPairings, options: BuildOptions) -> Iterator[Pair]:
    ids = PairIds()
    for group, (structure, appearances) in pairings:
        mask, prefix = group.masks.get(structure), [group.name] if group.name else []
        for appearance in appearances:
            name = ids(*prefix, *dict.fromkeys((structure.stem, appearance.stem)))
            yield Pair(name, structure, appearance, mask, None, options.licence, options.source or group.name)


def _note_missing(contents: SourceContents, note: Callable[[str], object]) -> None:
    """Note files that a list or a scene names and that do not exist."""
    files = [path for pair in contents.pairs for path in pair.images.values()]
    for group in contents.groups:
        files += [*group.structures, *group.appearances, *group.masks.values()]
    missing = [path for path in dict.fromkeys(files) if not os.path.isfile(path)]
    if missing:
        note(
            f"{len(missing)} of the listed files do not exist, such as {printable(str(missing[0]))}; "
            "`vitsplice pairs check` names all"
        )


def _note_fewer(pairings: GroupPairings, options: BuildOptions, note: Callable[[str], object]) -> None:
    """Note structure images with no appearance image, or with fewer than the options request."""
    alone = [structure for _, (structure, appearances) in pairings if not appearances]
    if alone:
        images = with_count(len(alone), "structure image")
        note(f"no appearance image is available for {images}, such as {printable(str(alone[0]))}")
    if options.by in ("similarity", "random"):
        number = options.per_structure
        fewer = sum(0 < len(appearances) < number for _, (_, appearances) in pairings)
        if fewer:
            images = with_count(fewer, "structure image")
            note(f"fewer than {number} appearance images are available for {images}")
