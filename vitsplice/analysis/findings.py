"""Sentences about a comparison, written from its figures by rule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations
from statistics import correlation, fmean

from vitsplice.analysis.comparison import Comparison
from vitsplice.figures import CNN, NEED_A_CNN

ROLES = ("structure", "appearance")

FLAT, TREND = 0.1, 0.6
"""Over the layers a figure is flat if it varies by less than this part of its mean; it has a trend if its rank goes
with depth by at least this (Spearman)."""


def findings(comparison: Comparison) -> list[str]:
    """What the figures say, a sentence each; the same figures give the same sentences."""
    found = [
        *[_selective(comparison, role) for role in ROLES],
        *[_depth(comparison, name) for name in comparison.infos],
        _found_again(comparison),
        _parts(comparison),
        _alike(comparison),
        *_transfers(comparison),
        *_controls(comparison),
    ]
    return [sentence for sentence in found if sentence]


def _named(comparison: Comparison, name: str) -> str:
    told = name in comparison.controls and not name.startswith("untrained")
    return f"{name} (untrained)" if told else name


def _listed(comparison: Comparison, values: Iterable[tuple[float, str]]) -> str:
    return ", ".join(f"{_named(comparison, name)} {value:.3g}" for value, name in values)


def _selective(comparison: Comparison, role: str) -> str:
    other = next(kind for kind in ROLES if kind != role)
    values = sorted(((comparison.selectivity(name, -1, role), name) for name in comparison.infos), reverse=True)
    return (
        f"At the last layer, changes of {role} change the {role} feature this many times as much as changes of "
        f"{other}: {_listed(comparison, values)}."
    )


def _depth(comparison: Comparison, name: str) -> str:
    told = []
    for role in ROLES:
        values = [comparison.selectivity(name, layer, role) for layer in comparison.infos[name].every_layer]
        told.append(f"of the {role} feature {_trend(values)}, from {values[0]:.2f} to {values[-1]:.2f}")
    return f"From the first layer of {_named(comparison, name)} to its last, the selectivity {', and '.join(told)}."


def _trend(values: list[float]) -> str:
    """In a word, how values go over the layers."""
    if len(values) < 3 or not all(map(math.isfinite, values)) or max(values) - min(values) <= FLAT * fmean(values):
        return "stays about the same"
    rank = correlation(range(len(values)), [sorted(values).index(value) for value in values])
    return "rises" if rank >= TREND else "falls" if rank <= -TREND else "goes up and down"


def _best_layers(comparison: Comparison, figure: str) -> list[tuple[float, str, int]]:
    """Each backbone's best layer by a figure, the best first."""
    found = []
    for name, info in comparison.infos.items():
        values = [(comparison.mean(name, layer, figure), name, layer) for layer in info.every_layer]
        found += [max(values)] if all(math.isfinite(value) for value, *_ in values) else []
    return sorted(found, reverse=True)


def _layer_list(comparison: Comparison, best: list[tuple[float, str, int]]) -> str:
    return ", ".join(f"{_named(comparison, name)} {value:.2f} at layer {layer}" for value, name, layer in best)


def _found_again(comparison: Comparison) -> str:
    best = _best_layers(comparison, "pck")
    told = _layer_list(comparison, best)
    return (
        f"The part of a warped picture's places that are found again (PCK at 0.1), at the best layer: {told}."
        if best
        else ""
    )


def _parts(comparison: Comparison) -> str:
    best = _best_layers(comparison, "parts")
    told = _layer_list(comparison, best)
    return f"Clusters agree with the parts that the masks show (mean IoU), at the best layer: {told}." if best else ""


def _alike(comparison: Comparison) -> str:
    at = {place: number for number, place in enumerate(comparison.places)}
    values = sorted(
        (
            float(comparison.agreement[at[one, -1], at[two, -1]]),
            f"{_named(comparison, one)} with {_named(comparison, two)}",
        )
        for one, two in combinations(comparison.infos, 2)
    )
    told = ", ".join(f"{pair} {value:.2f}" for value, pair in reversed(values))
    return f"Self-similarities of the last layers agree (CKA): {told}." if values else ""


def _transfers(comparison: Comparison) -> list[str]:
    figures = dict.fromkeys(row.of for row in comparison.rows if row.figure == "transfer")
    told = []
    for figure in figures:
        own = [CNN] if figure in NEED_A_CNN and CNN in comparison.infos else []
        others = [name for name in comparison.infos if name not in own]
        values = sorted((comparison.mean(name, -1, "transfer", [figure]), name) for name in others)
        without = "".join(f"; not {name}, with which the figure looks" for name in own)
        told += [
            f"Pictures made with each backbone, by {figure} (lower is better{without}): {_listed(comparison, values)}."
        ]
    return told


def _controls(comparison: Comparison) -> list[str]:
    """How each trained backbone stands apart from each control: on every picture to the same side, or not."""
    trained = [name for name in comparison.infos if name not in comparison.controls]
    return [_control(comparison, name, control) for control in comparison.controls for name in trained]


def _control(comparison: Comparison, name: str, control: str) -> str:
    pictures, told, apart = comparison.pictures, [], []
    for role in ROLES:
        by_how_much = [
            comparison.selectivity(name, -1, role, picture) - comparison.selectivity(control, -1, role, picture)
            for picture in pictures
        ]
        told.append(f"its {role} feature is the more selective on {sum(more > 0 for more in by_how_much)}")
        if min(by_how_much) > 0 or max(by_how_much) < 0:
            apart.append(f"its {role} feature")
    by = f", by {' and '.join(apart)}" if apart else ""
    return (
        f"{name} is {'plainly' if apart else 'not on all pictures'} apart from {_named(comparison, control)}{by}: "
        f"at the last layer, of {len(pictures)} pictures, {' and '.join(told)} (all or none is apart)."
    )
