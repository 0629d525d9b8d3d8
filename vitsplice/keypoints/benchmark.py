"""The benchmark: every pair of a data set, looked at by every backbone; what is finished is kept."""

from __future__ import annotations

import math
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitsplice.contracts import FeatureRequest
from vitsplice.engine.device import pick_device
from vitsplice.errors import ImageError, ImageNotFound, UserError
from vitsplice.evaluation.account import Account
from vitsplice.keypoints.errors import errors
from vitsplice.keypoints.grid import Looker, lookers
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair
from vitsplice.keypoints.report import CSV, JSON, MARKDOWN, PAIRS, write
from vitsplice.keypoints.sights import Sights
from vitsplice.keypoints.summary import Summary, summarise
from vitsplice.runs.record import versions
from vitsplice.support.jsonl import JsonLinesLog, key_of
from vitsplice.support.output_folder import ResumableWork, resumable
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import one_line, printable

FORMAT = 1
ALPHAS = (0.05, 0.1, 0.15)
VALUES = "values.jsonl"

WORK = ResumableWork(
    "benchmark",
    "keypoints.json",
    parts=(VALUES,),
    results=(PAIRS, CSV, JSON, MARKDOWN),
    part_keys=("format", "versions", "keypoints", "size", "device"),
)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        data: the pairs.
        backbones: names; none is that of the default preset.
        facets: local ones; none is each backbone's own for structure.
        layers: each counts from 0, the first, or from -1, the last; none is all.
        alphas: thresholds.
        size: images are looked at with about ``size * size`` pixels, aspect kept.
        device: see `vitsplice.engine.device.pick_device`.
    """

    data: DataSet = field(compare=False)
    backbones: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    layers: tuple[int, ...] = (-1,)
    alphas: tuple[float, ...] = ALPHAS
    size: int = 448
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.alphas or not all(math.isfinite(alpha) and 0 < alpha <= 1 for alpha in self.alphas):
            raise UserError(f"thresholds must be above 0 and at most 1: {', '.join(map(str, self.alphas))}")


def benchmark(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> Summary | None:
    """Percentage of correct keypoints for every backbone, facet and layer; None if it was stopped.

    Backbones, facets, layers and thresholds may be others when it goes on: what was measured of them is kept.

    Raises:
        OutputExists: if the folder holds an evaluation of other data, or by other versions, and ``force`` is not given.
        OutputBusy: if another process is writing to it.
        UserError: if no pair can be measured.
        VitspliceError: as reading the data and loading backbones do.
    """
    device = pick_device(plan.device)
    found = lookers(plan.backbones, plan.facets, plan.layers, progress.note)
    told = {
        "format": FORMAT,
        "versions": versions(),
        "keypoints": dict(plan.data.facts),
        "size": plan.size,
        "device": str(device),
    }
    total = plan.data.count * len(found)
    keys, account = array("Q"), Account()
    with resumable(Path(out), WORK, told, force=force) as path, JsonLinesLog(path / VALUES) as log:
        for number, looker in enumerate(found):
            account = Account()
            sights = Sights(looker.load, looker.requests, plan.size, device)
            block: list[array[int]] = [array("Q") for _ in looker.requests]
            for place, pair in enumerate(plan.data.pairs()):
                if progress.stopped():
                    return None
                progress.part(f"{looker.info.name}, {pair.id}", number * plan.data.count + place, total)
                for row, key in zip(block, _measure(pair, looker, sights, plan, device, log, account), strict=True):
                    row.append(key)
            for row in block:
                keys.extend(row)
        progress.part("summary", total, total)
        rows = [(looker.info, request) for looker in found for request in looker.requests]
        table = np.frombuffer(keys, np.uint64).reshape(len(rows), -1)
        if not table.any():
            raise UserError(f"none of the pairs of {printable(plan.data.name)} can be measured: {account.told()}")
        summary = summarise(plan.data, plan.alphas, rows, log, table, account)
        write(path, summary, log, table)
        return summary


def _measure(
    pair: Pair | Flaw,
    looker: Looker,
    sights: Sights,
    plan: Plan,
    device: torch.device,
    log: JsonLinesLog,
    account: Account,
) -> list[int]:
    """The key of each request's errors, which are in the log now; 0 if the pair cannot be measured."""
    if isinstance(pair, Flaw):
        account.failed(pair.id, pair.why, missing=pair.missing)
        return [0] * len(looker.requests)
    try:
        keys = _keys(pair, looker, plan, device)
        wanted = [(request, key) for request, key in zip(looker.requests, keys, strict=True) if key not in log]
        if wanted:
            source, target = sights(pair.source), sights(pair.target)
        for request, key in wanted:
            off = errors(pair, source, target, request)
            log.add(key, _record(pair, looker.info.name, request) | {"errors": off.values, "outside": off.outside})
    except ImageError as error:
        account.failed(pair.id, one_line(str(error)), missing=isinstance(error, ImageNotFound))
        return [0] * len(looker.requests)
    account.measured += 1
    return keys


def _keys(pair: Pair, looker: Looker, plan: Plan, device: torch.device) -> list[int]:
    key, info = pair.key(), looker.info
    return [key_of(key, info.name, info.sha256, request, plan.size, device) for request in looker.requests]


def _record(pair: Pair, backbone: str, request: FeatureRequest) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "facet": request.facet,
        "layer": request.layer,
        "pair": pair.id,
        "category": pair.category,
    }
