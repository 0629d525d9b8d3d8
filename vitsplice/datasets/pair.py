"""Conversion between pairs and the fields of a manifest.

The fields of the first appearance image have no number: ``appearance``, ``appearance_mask``, ``appearance_weight``.
The fields of further ones have numbers: ``appearance_2``, ``appearance_2_mask``, ``appearance_2_weight``, and so on.
Each of ``region_1``, ``region_2`` and so on is a region (`vitsplice.runs.inputs.Region`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitsplice.errors import Argument, ConfigError, UserError
from vitsplice.runs.inputs import (
    Region,
    appearance_names,
    appearance_number,
    checked_weights,
    named_inputs,
    parse_region,
    region_text,
)
from vitsplice.support.bounded_yaml import is_valid_text
from vitsplice.support.files import absolute
from vitsplice.support.tables import escape_csv
from vitsplice.text import printable

FIELDS = ("id", "structure", "appearance", "structure_mask", "appearance_mask", "licence", "source")
"""Fields of a pair of two images."""

REQUIRED = FIELDS[:3]
TEXTS = FIELDS[5:]
"""Fields of free text."""

NUMBERED = re.compile(r"appearance_weight|appearance_([2-9]|[1-9]\d+)(_mask|_weight)?|region_[1-9]\d*")
"""Fields of weights, of further appearance images and of regions."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.)")
"""An id names folders and files: letters, digits, ``.``, ``_`` and ``-``, at most 100, the first a letter or digit, the
last no ``.``."""


@dataclass(frozen=True)
class Pair:
    """A structure image with one or several appearance images.

    Args:
        id: identifier, unique in its manifest regardless of case; names folders and files (`ID`).
        structure: path of the structure image.
        appearance: path of the only or first appearance image.
        structure_mask: path of the mask of the structure image, of the same size (`vitsplice.api.splice`).
        appearance_mask: path of the mask of the appearance image, of the same size.
        licence: licence of the images; "" if unknown.
        source: origin of the images; "" if unknown.
        others: path of each further appearance image, with the path of its mask or None.
        weights: weight of each appearance image; empty: all are equal.
        regions: regions; their masks are paths, and their appearance images are numbers from 0.
    """

    id: str
    structure: Path
    appearance: Path
    structure_mask: Path | None = None
    appearance_mask: Path | None = None
    licence: str = ""
    source: str = ""
    others: tuple[tuple[Path, Path | None], ...] = ()
    weights: tuple[float, ...] = ()
    regions: tuple[Region, ...] = ()

    @property
    def appearances(self) -> tuple[tuple[Path, Path | None], ...]:
        """The path of each appearance image, with the path of its mask or None."""
        return ((self.appearance, self.appearance_mask), *self.others)

    @property
    def images(self) -> dict[str, Path]:
        """The paths of images and masks by name, images first (`vitsplice.runs.inputs`); without masks of regions."""
        paths, masks = zip(*self.appearances, strict=True)
        return named_inputs(self.structure, paths, self.structure_mask, masks)

    def check_plain(self, reason: str) -> None:
        """Raise UserError, with ``reason`` in its message, if the pair has several appearance images, or regions."""
        if self.others or self.regions:
            given = "regions" if self.regions else "several appearance images"
            raise UserError(f"pair {self.id} has {given}; {reason}")


def check_fields(names: Sequence[str], location: str) -> None:
    """Raise ConfigError, with the location in the manifest, for a field that is unknown, missing or repeated."""
    if unknown := [name for name in names if name not in FIELDS and not NUMBERED.fullmatch(name)]:
        hint = "; fields are separated by commas" if len(names) == 1 else ""
        raise ConfigError(
            f"{location}: unknown field {unknown[0]!r}; allowed: {', '.join(FIELDS)}; for several appearance images "
            f"appearance_2, appearance_2_mask, appearance_weight, appearance_2_weight ...; for regions region_1 ..."
            f"{hint}"
        )
    check_unique(names, location)
    if missing := [name for name in REQUIRED if name not in names]:
        raise ConfigError(f"{location}: field {missing[0]} is missing; required: {', '.join(REQUIRED)}")


def check_unique(names: Sequence[str], location: str) -> None:
    """Raise ConfigError, with the location in the manifest, for a field that occurs twice."""
    if len({*names}) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        further = "; further appearance images are appearance_2, appearance_3, ..."
        hint = further if repeated.startswith("appearance") else ""
        raise ConfigError(f"{location}: field {repeated} occurs twice{hint}")


def check_text(name: str, text: str) -> None:
    """Raise UserError for a licence or source that a file cannot record; ``name`` is the argument that gave it."""
    if not is_valid_text(text):
        problem = "has a NUL or a character that UTF-8 cannot encode; give a name or an address"
        raise UserError(Argument(name), f" '{printable(text)}' {problem}")


def pair_of(row: Mapping[str, Any], folder: Path, location: str) -> Pair:
    """Return the pair of a row of a manifest.

    Args:
        row: fields by name.
        folder: folder of the manifest, which paths are relative to.
        location: location of the row, for messages.

    Raises:
        ConfigError: if a field is unknown, missing or invalid.
    """
    check_fields([*row], location)
    values = {name: _text(name, value, location) for name, value in row.items()}
    if empty := [name for name in REQUIRED if not values[name]]:
        raise ConfigError(f"{location}: {empty[0]} is empty")
    if not ID.fullmatch(values["id"]):
        raise ConfigError(
            f"{location}: id {values['id']!r} cannot name a folder; allowed are at most 100 letters, digits, '.', '_' "
            "and '-', the first a letter or digit, the last no '.'"
        )
    names = _numbered(values, "appearance", location)
    images = [values[name] for name in names]
    masks = [folder / mask if (mask := values.get(f"{name}_mask")) else None for name in names]
    mask = values.get("structure_mask")
    return Pair(
        id=values["id"],
        structure=folder / values["structure"],
        appearance=folder / images[0],
        structure_mask=folder / mask if mask else None,
        appearance_mask=masks[0],
        others=tuple(zip([folder / image for image in images[1:]], masks[1:], strict=True)),
        weights=_weights(values, names, location),
        regions=tuple(_regions(values, images, folder, location)),
        **{name: values[name] for name in TEXTS if name in values},
    )


def row_of(pair: Pair, folder: Path) -> dict[str, str]:
    """Return the fields of a pair that are not empty; paths below a folder become relative to it.

    Raises:
        UserError: if `pair_of` would read another region, because the path of its structure mask contains ``=`` and no
            such file exists; or if a path ends in white space.
    """
    names = appearance_names(len(pair.appearances))
    row = {"id": pair.id} | {name: _relative(path, folder) for name, path in pair.images.items()}
    row |= {f"{name}_weight": str(weight) for name, weight in zip(names, pair.weights, strict=False)}
    for number, region in enumerate(pair.regions, 1):
        structure_mask, appearance_mask = (
            mask and _relative(mask, folder, "=") for mask in (region.structure_mask, region.appearance_mask)
        )
        written = replace(region, structure_mask=structure_mask, appearance_mask=appearance_mask)
        text = region_text(written)
        if parse_region(text, len(names), folder) != written:
            raise UserError(
                f"pair {pair.id}: region_{number} would not be read back from {text!r}; rename the mask without "
                "'=', or create it first"
            )
        row[f"region_{number}"] = text
    if stripped := [name for name, text in row.items() if name != "id" and text != text.strip()]:
        raise UserError(
            f"pair {pair.id}: {stripped[0]} would not be read back from {row[stripped[0]]!r}; rename the file without "
            "white space at the end"
        )
    return row | {name: text for name in TEXTS if (text := getattr(pair, name))}


def _text(name: str, value: Any, location: str) -> str:
    """Return a field as text without white space around it; a weight may be a number."""
    if name.endswith("_weight") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = "" if value is None else value
    if not isinstance(text, str) or "\0" in text:
        allowed = "a number" if name.endswith("_weight") else "text"
        raise ConfigError(f"{location}: {name} must be {allowed}, not {text!r}")
    if not (is_valid_text(text) if name in TEXTS else _is_file_name(text)):
        raise ConfigError(f"{location}: {name} has a character that UTF-8 cannot encode: {text!r}")
    return text.strip()


def _is_file_name(text: str) -> bool:
    """Return whether text may name a file; surrogates must stand for the bytes of a name that is not UTF-8."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _numbered(values: Mapping[str, str], kind: str, location: str) -> list[str]:
    """Return the names of the appearance images or regions of a row. Raises ConfigError for a gap in the numbers."""
    names = list[str]()
    while values.get(name := kind if kind == "appearance" and not names else f"{kind}_{len(names) + 1}"):
        names.append(name)
    known = {f"{listed}{suffix}" for listed in names for suffix in ("", "_mask", "_weight")}
    if given := [field for field, text in values.items() if text and field.startswith(kind) and field not in known]:
        raise ConfigError(f"{location}: {given[0]} is given, but {name} is empty; number without gaps")
    return names


def _weights(values: Mapping[str, str], names: Sequence[str], location: str) -> tuple[float, ...]:
    """Return the weight of each appearance image, 1 if it has none; empty if no image has one."""
    texts = [values.get(f"{name}_weight", "") for name in names]
    if not any(texts):
        return ()
    try:
        return checked_weights([float(text or 1) for text in texts], len(names))
    except ValueError as error:
        given = ", ".join(filter(None, texts))
        raise ConfigError(f"{location}: weights must be numbers above 0, not {given}") from error
    except UserError as error:
        raise ConfigError(f"{location}: {error}") from error


def _regions(values: Mapping[str, str], images: Sequence[str], folder: Path, location: str) -> Iterable[Region]:
    """Yield the regions of a row; the paths of masks in the row are relative to a folder."""
    for number, name in enumerate(_numbered(values, "region", location), 1):
        try:
            region = parse_region(values[name], len(images), folder)
            index = appearance_number(region.appearance, images, number)
        except UserError as error:
            raise ConfigError(f"{location}: {error}") from error
        mask = region.appearance_mask
        yield Region(folder / region.structure_mask, index, folder / mask if mask else None)


def _relative(path: Path, folder: Path, after: str = "") -> str:
    """Return a path relative to a folder that contains it, else absolute; ``after`` follows the path in its field."""
    file, base = absolute(path), absolute(folder)
    if not file.is_relative_to(base):
        return str(file)
    relative = file.relative_to(base).as_posix()
    field = f"{relative}{after}"
    unchanged = field == field.lstrip() and escape_csv(field) == field
    return relative if unchanged else f"./{relative}"  # a manifest's reader strips white space and unescapes no paths
