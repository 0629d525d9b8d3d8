"""Pairs of training images, each within one subset of the split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vitsplice.config import TrainingConfig
from vitsplice.contracts import Backbone
from vitsplice.datasets import Pair, read
from vitsplice.datasets.fingerprints import cached_fingerprints
from vitsplice.datasets.manifest import PairIds
from vitsplice.datasets.similarity import AppearanceFeature, appearance_features, most_similar, note_skipped
from vitsplice.datasets.sources import ImageGroup, SourceContents, read_source
from vitsplice.errors import UserError
from vitsplice.support.progress import ProgressReporter
from vitsplice.text import printable
from vitsplice.training.plan import PLAN, PREVIEWS
from vitsplice.training.split import Split, split_fingerprints


@dataclass(frozen=True)
class SplitPairs:
    """Pairs by subset of the split.

    Args:
        training: pairs of images that a model is trained on.
        held_out: pairs of held-out images.
        crossing: number of given pairs that were left out because they have an image in each subset.

    Raises:
        UserError: if there is no training pair.
    """

    training: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    crossing: int = 0

    def __post_init__(self) -> None:
        if not self.training:
            raise UserError(
                f"no pair has both images in the training subset: {self.crossing} have one in each subset; give more "
                "pairs, or a folder of images"
                if self.crossing
                else "no training image can be paired with another image of its domain; give more images of each domain"
            )


def training_pairs(
    path: Path,
    config: TrainingConfig,
    backbone: Backbone,
    device: torch.device,
    cache: Path,
    progress: ProgressReporter,
    trained: Set[str] = frozenset(),
    *,
    precision: str = "float32",
) -> SplitPairs | None:
    """Read the images of a manifest or of another source of pairs, split them, and pair them within each subset.

    If images are paired by similarity, unreadable ones are skipped and noted. In a tree of domains, folders of previews
    of a training are left out.

    Args:
        path: manifest, or source of images (`vitsplice.datasets.sources.read_source`). Pairs that it defines are used;
            otherwise images are paired by similarity.
        config: settings of the training: ``held_out`` and, if images are paired by similarity, ``partners`` are used.
        backbone: backbone whose appearance features are compared, on the device.
        device: device of the backbone.
        cache: file of computed features and fingerprints, which is read and extended.
        progress: reports each image.
        trained: SHA-256 of images that the initial model was trained on, which are not held out.
        precision: precision of the backbone.

    Returns:
        The pairs; None if the progress reporter stopped the work.

    Raises:
        ConfigError, UserError: if the manifest or the source is invalid, or has too few images or no pairs.
        ImageError: if an image of a given pair cannot be read.
        VitspliceError: if the cache cannot be used, or a feature is not finite.
    """
    if path.suffix.lower() in (".csv", ".jsonl") and not os.path.isdir(path):
        contents = SourceContents("a manifest", pairs=tuple(read(path)))
        if not contents.pairs:
            raise UserError(f"{printable(str(path))} has no pairs")
        for pair in contents.pairs:
            pair.check_plain("a model is trained on pairs of two images")
    else:
        contents = read_source(path)
        if note := contents.note_on_ignored:
            progress.note(note)
        contents = replace(contents, groups=tuple(group for group in contents.groups if not _has_previews(group)))
    images = [image for pair in contents.pairs for image in (pair.structure, pair.appearance)]
    images += [image for group in contents.groups for image in group.structures]
    computed = cached_fingerprints(list(dict.fromkeys(images)), cache, progress)
    if computed is None:
        return None
    fingerprints, errors = computed
    if errors and contents.pairs:
        raise errors[0]
    note_skipped(errors, progress)
    split = split_fingerprints(fingerprints, config.held_out, trained)
    if contents.pairs:
        return pairs_within_subsets(contents.pairs, split)
    images = [*split.training, *split.held_out]
    described = appearance_features(images, backbone, device, cache, progress, precision=precision)
    if described is None:
        return None
    features, errors = described
    note_skipped(errors, progress)
    return pairs_by_similarity(contents.groups, split, features, config.partners)


def _has_previews(group: ImageGroup) -> bool:
    """Return whether a domain of a tree is the folder of a training's previews, which show its held-out images."""
    folder = group.structures[0].parent
    return bool(group.name) and folder.name == PREVIEWS and (folder.parent / PLAN).is_file()


def pairs_by_similarity(
    groups: Sequence[ImageGroup], split: Split, features: Mapping[Path, AppearanceFeature], partners: int
) -> SplitPairs:
    """Pair each image with the most similar ones of its group and subset, by cosine similarity (`most_similar`).

    SpliceNet selects its training pairs in this way ("dataset distillation", Tumanyan et al. 2023, supplement).

    Args:
        groups: images to be paired.
        split: the images by subset.
        features: features of the images; images without one are left out.
        partners: maximum number of appearance images for each structure image.

    Raises:
        UserError: if there is no training pair.
    """
    training, held_out = (
        _most_similar(groups, {path: features[path] for path in subset if path in features}, partners)
        for subset in (split.training, split.held_out)
    )
    return SplitPairs(training, held_out)


def _most_similar(
    groups: Iterable[ImageGroup], features: Mapping[Path, AppearanceFeature], partners: int
) -> tuple[Pair, ...]:
    """Pair each image that has a feature with the most similar ones of its group."""
    ids = PairIds()
    return tuple(
        Pair(ids(structure.stem, appearance.stem), structure, appearance)
        for group in groups
        for structure, appearances in most_similar(group, features, partners)
        for appearance in appearances
    )


def pairs_within_subsets(pairs: Iterable[Pair], split: Split) -> SplitPairs:
    """Sort given pairs by subset; pairs with an image in each subset are left out and counted. Masks are not used.

    Args:
        pairs: pairs of a manifest (`vitsplice.datasets.read`).
        split: images of the pairs by subset.

    Raises:
        UserError: if there is no training pair.
    """
    training, held_out = set(split.training), set(split.held_out)
    by_subset: dict[str, list[Pair]] = {"training": [], "held_out": [], "crossing": []}
    for pair in pairs:
        images = {pair.structure, pair.appearance}
        subset = "training" if images <= training else "held_out" if images <= held_out else "crossing"
        by_subset[subset].append(replace(pair, structure_mask=None, appearance_mask=None))
    return SplitPairs(tuple(by_subset["training"]), tuple(by_subset["held_out"]), len(by_subset["crossing"]))
