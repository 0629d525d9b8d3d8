"""Sources of pairs: folders and lists of images, in the layouts of data sets of this field. No image is opened."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from vitsplice.datasets.manifest import PairIds
from vitsplice.datasets.pair import Pair
from vitsplice.errors import ConfigError, UserError
from vitsplice.support.files import folder_name, reading
from vitsplice.support.image_files import HINT, SUFFIXES, entries, images_at, images_in, is_image_name
from vitsplice.support.validation_errors import first_problem
from vitsplice.text import printable, with_count

RELEASED_FOLDERS = {"structure": "A", "appearance": "B"}
"""Subfolder that holds the single image of a role in the released Splice data."""

PAIR_STEMS = {*RELEASED_FOLDERS, *(f"{role}_mask" for role in RELEASED_FOLDERS)}
"""Names of the images and masks of a pair, without suffix."""


@dataclass(frozen=True)
class ImageGroup:
    """Structure images and appearance images, any of which may be paired.

    Args:
        structures: paths of the structure images, in order.
        appearances: paths of the appearance images, in order.
        name: name of the group in a tree of domains, such as ``test/cat``; "" in other layouts.
        masks: path of the mask of each structure image that has one, by the path of the image.
    """

    structures: tuple[Path, ...]
    appearances: tuple[Path, ...]
    name: str = ""
    masks: Mapping[Path, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceContents:
    """Either groups of images to be paired, or pairs.

    Args:
        layout: description of the layout that was recognised.
        groups: images to be paired.
        pairs: pairs that the source defines.
        default_by: default way to pair the images of a group (`vitsplice.datasets.build.WAYS`); None if the source
            defines pairs.
        ignored: subfolders with images that are not used.
    """

    layout: str
    groups: tuple[ImageGroup, ...] = ()
    pairs: tuple[Pair, ...] = ()
    default_by: str | None = None
    ignored: tuple[Path, ...] = ()

    @property
    def note_on_ignored(self) -> str:
        """Note on the subfolders that are not used; "" if there are none."""
        if not self.ignored:
            return ""
        verb = "is" if len(self.ignored) == 1 else "are"
        number, first = with_count(len(self.ignored), "subfolder"), _shown(self.ignored[0])
        note = f"{number} with images {verb} not used, such as {first}"
        if not self.pairs:
            return note
        return f"{note}; a pair is structure.* and appearance.*, in lower case, or one image in A/ and one in B/"


def read_source(path: Path, appearance: Path | None = None) -> SourceContents:
    """Recognise the layout of a source and list its images.

    Args:
        path: folder of images, of one pair, of subfolders with a pair each, or of domains; or text file with a list of
            pairs. With ``appearance``: folder of structure images, one structure image, or the ``transforms.json`` of a
            scene.
        appearance: folder of appearance images, or one appearance image.

    Raises:
        ConfigError: if a list or a ``transforms.json`` is invalid.
        UserError: if the source does not exist, holds no images or an incomplete pair, or has another layout.
    """
    if not os.path.exists(path):
        raise UserError(f"{_shown(path)} does not exist")
    if os.path.isdir(path) or is_image_name(path):
        return _read_folder(path) if appearance is None else _read_two(path, appearance)
    return _read_file(path, appearance)


def _read_folder(path: Path) -> SourceContents:
    if os.path.isfile(path):
        advice = "give a folder of images, or for `pairs build` an appearance image after it"
        raise UserError(f"{_shown(path)} is one image; {advice}")
    ids, images, subfolders = PairIds(), images_in(path), _folders_in(path)
    pair = _folder_pair(path, ids) if _is_pair(path, images) else None
    if pair:
        used = {image.parent for image in pair.images.values()}
        ignored = _with_images(folder for folder in subfolders if folder not in used)
        return SourceContents("a folder of one pair", pairs=(pair,), ignored=ignored)
    if images:
        group = ImageGroup(images, images)
        return SourceContents("a folder of images", (group,), default_by="random", ignored=_with_images(subfolders))
    if all(map(_may_be_split_or_domain, subfolders)):
        groups, ignored = _domains(path)
        return SourceContents("a tree of domains", groups, default_by="random", ignored=ignored)
    folders = {folder: _folder_pair(folder, ids) for folder in subfolders}
    pairs = tuple(pair for pair in folders.values() if pair)
    ignored = _with_images(folder for folder, pair in folders.items() if not pair)
    return SourceContents("a folder with a subfolder for each pair", pairs=pairs, ignored=ignored)


def _read_two(structure: Path, appearance: Path) -> SourceContents:
    by = "name" if os.path.isdir(structure) and os.path.isdir(appearance) else "all"
    group = ImageGroup(images_at(structure), images_at(appearance))
    return SourceContents("structure images and appearance images", (group,), default_by=by)


def _read_file(path: Path, appearance: Path | None) -> SourceContents:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".jsonl"):
        raise UserError(f"{_shown(path)} is a manifest already; `vitsplice pairs check` checks it")
    if suffix != ".json":
        if appearance is not None:
            raise UserError(f"{_shown(path)} is a list of pairs; it cannot be combined with {_shown(appearance)}")
        return SourceContents("a list of two paths a line", pairs=_listed_pairs(path))
    if appearance is None:
        advice = (
            "`pairs build` needs an appearance image, or a folder of them, after it; `train` needs photographs instead"
        )
        raise UserError(f"{_shown(path)} has structure images only; {advice}")
    structures, masks = _scene_frames(path)
    group = ImageGroup(structures, images_at(appearance), masks=masks)
    return SourceContents("the frames of a scene", (group,), default_by="all")


def _domains(path: Path) -> tuple[tuple[ImageGroup, ...], tuple[Path, ...]]:
    """Make a group of each folder of ``DOMAIN/*`` and ``SPLIT/DOMAIN/*``, the layout of AFHQ.

    Returns the groups, and the folders with images that are one level deeper.
    """
    splits = {folder: _folders_in(folder) for folder in _folders_in(path)}
    folders = [folder for split, domains in splits.items() for folder in (split, *domains)]
    groups = [(folder, images) for folder in folders if (images := images_in(folder))]
    if not groups:
        raise UserError(
            f"{_shown(path)} holds no images; give a folder of images, one with a subfolder for each pair, a tree "
            f"such as train/cat/*.jpg, or a list. {HINT}"
        )
    deeper = (folder for domains in splits.values() for domain in domains for folder in _folders_in(domain))
    return (
        tuple(ImageGroup(images, images, folder.relative_to(path).as_posix()) for folder, images in groups),
        _with_images(deeper),
    )


def _folder_pair(folder: Path, ids: PairIds) -> Pair | None:
    """Make the pair of a folder with ``structure.*`` and ``appearance.*``, or with one image each in ``A/`` and ``B/``.

    The latter is the layout of the released Splice data. Masks are ``structure_mask.*`` and ``appearance_mask.*``.
    Return None for a folder without such images. Raise UserError if only one of the two exists, or several of a role.
    """
    images = {role: _role_image(folder, role) for role in RELEASED_FOLDERS}
    structure, appearance = images.values()
    if structure and appearance:
        structure_mask, appearance_mask = (_named_image(folder, f"{role}_mask") for role in RELEASED_FOLDERS)
        return Pair(ids(folder_name(folder)), structure, appearance, structure_mask, appearance_mask)
    for role, image in images.items():
        if image is None and any(images.values()):
            released = f"one image in {RELEASED_FOLDERS[role]}/"
            raise UserError(f"{_shown(folder)} has no {role} image: {role}.png (.jpg, ...), or {released}")
    return None


def _is_pair(folder: Path, images: Sequence[Path]) -> bool:
    """Return True if a folder has an image of each role, and no images but those of a pair.

    An ``A/`` or ``B/`` with several images may be a domain.
    """
    stems = {path.stem for path in images}
    return stems <= PAIR_STEMS and all(
        role in stems or len(_released_images(folder, role)) == 1 for role in RELEASED_FOLDERS
    )


def _may_be_split_or_domain(folder: Path) -> bool:
    """Return True unless a folder holds a pair, or a part of one.

    A split or a domain has no ``structure.*`` or ``appearance.*``, and either no images in ``A/`` and ``B/`` or several
    in each.
    """
    named = {path.stem for path in images_in(folder)} & {*RELEASED_FOLDERS}
    numbers = [len(_released_images(folder, role)) for role in RELEASED_FOLDERS]
    return not named and (max(numbers) == 0 or min(numbers) > 1)


def _role_image(folder: Path, role: str) -> Path | None:
    hint = "; to pair two folders of images, give both"
    return _named_image(folder, role) or _single(_released_images(folder, role), folder / RELEASED_FOLDERS[role], hint)


def _released_images(folder: Path, role: str) -> tuple[Path, ...]:
    released = folder / RELEASED_FOLDERS[role]
    return images_in(released) if os.path.isdir(released) else ()


def _named_image(folder: Path, stem: str) -> Path | None:
    return _single([path for path in images_in(folder) if path.stem == stem], folder / f"{stem}.*")


def _single(images: Sequence[Path], pattern: Path, hint: str = "") -> Path | None:
    if len(images) > 1:
        names = ", ".join(printable(path.name) for path in images[:3])
        raise UserError(f"{_shown(pattern)} must be one image, not {len(images)}: {names}{hint}")
    return images[0] if images else None


def _listed_pairs(path: Path) -> tuple[Pair, ...]:
    """List the pairs of a text file: two paths a line, separated by a tab or by spaces.

    Between spaces, a name that contains spaces is in quotes. Empty lines and lines that begin with ``#`` are ignored.
    """
    ids, pairs = PairIds(), []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            structure, appearance = (
                path.parent / name for name in _two_paths(line.strip(), f"{_shown(path)}, line {number}")
            )
            pairs.append(Pair(ids(*dict.fromkeys((structure.stem, appearance.stem))), structure, appearance))
    if not pairs:
        raise UserError(f"{_shown(path)} lists no pairs; a line is a structure image and an appearance image")
    _check_any_exists(path, [image for pair in pairs for image in (pair.structure, pair.appearance)])
    return tuple(pairs)


def _two_paths(line: str, location: str) -> list[str]:
    if "\0" in line:
        raise ConfigError(f"{location}: a path has a NUL character; save the list as UTF-8 text")
    try:
        names = [_without_quotes(name.strip()) for name in line.split("\t")] if "\t" in line else _words(line)
    except ValueError as error:
        raise ConfigError(f"{location}: a quotation mark is not closed") from error
    if len(names) != 2:
        raise ConfigError(
            f"{location}: a line of a list of pairs must be two paths, not {len(names)}; put a tab between them, or "
            "quotes around names with spaces"
        )
    if not all(names):
        raise ConfigError(f"{location}: a path is empty; give a structure image and an appearance image")
    return names


def _without_quotes(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name


def _words(line: str) -> list[str]:
    """Split a line as a shell does, but with ordinary backslashes. Raises ValueError for an unclosed quotation mark."""
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    return list(words)


class _Frame(BaseModel, str_strip_whitespace=True):
    file_path: str = Field(min_length=1, pattern=r"^[^\x00]*$")
    mask_path: str | None = Field(None, min_length=1, pattern=r"^[^\x00]*$")


class _Scene(BaseModel):
    frames: list[_Frame] = Field(min_length=1)


def _scene_frames(path: Path) -> tuple[tuple[Path, ...], dict[Path, Path]]:
    """List the images of a scene in the order of its ``transforms.json`` (NeRF, nerfstudio), and their masks.

    A ``file_path`` without a suffix gets that of the existing file: the synthetic scenes of NeRF leave out ``.png``.
    If a frame is listed several times, its last mask is used.
    """
    try:
        scene = _Scene.model_validate_json(_text(path))
    except ValidationError as error:
        raise ConfigError(f"{_shown(path)} is not a transforms.json: {first_problem(error)}") from error
    masks: dict[Path, Path | None] = {}
    for frame in scene.frames:
        image = _frame_image(path.parent, frame.file_path)
        masks[image] = path.parent / frame.mask_path if frame.mask_path else masks.get(image)
    _check_any_exists(path, list(masks))
    return tuple(masks), {image: mask for image, mask in masks.items() if mask}


def _frame_image(folder: Path, name: str) -> Path:
    path = folder / name
    if is_image_name(path) or os.path.basename(name) in ("", ".", ".."):
        return path
    candidates = (Path(f"{path}{suffix}") for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)))
    return next(filter(os.path.isfile, candidates), Path(f"{path}.png"))


def _check_any_exists(path: Path, images: list[Path]) -> None:
    """Raise UserError if no image exists: the paths are then probably relative to another folder."""
    if not any(map(os.path.isfile, images)):
        raise UserError(
            f"{_shown(path)} lists {with_count(len(images), 'image')}; none exists (the first is "
            f"{_shown(images[0])}); paths in {printable(path.name)} are relative to its folder"
        )


def _text(path: Path) -> str:
    with reading(path):
        return path.read_text(encoding="utf-8-sig")


def _folders_in(folder: Path) -> list[Path]:
    return list(filter(os.path.isdir, entries(folder)))


def _with_images(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return the folders that hold images, for a note; one that cannot be read counts as empty."""
    holding = []
    for folder in folders:
        with suppress(UserError):
            if images_in(folder):
                holding.append(folder)
    return tuple(holding)


def _shown(path: Path) -> str:
    return printable(str(path))
