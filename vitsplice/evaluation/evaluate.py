"""The evaluation: every output of every method, one pair at a time; what is finished is kept."""

from __future__ import annotations

import heapq
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.contracts import Case, Metric, MetricContext, MetricSpec
from vitsplice.datasets import count, read
from vitsplice.datasets.manifest import Pair
from vitsplice.engine.device import pick_device
from vitsplice.errors import ImageError, UserError
from vitsplice.evaluation.account import Account
from vitsplice.evaluation.cases import Images, key
from vitsplice.evaluation.gallery import gallery
from vitsplice.evaluation.outputs import LAYOUT, Method
from vitsplice.evaluation.own import of_run
from vitsplice.evaluation.plan import GALLERY, SETS, VALUES, WORK, Plan, told
from vitsplice.evaluation.report import write
from vitsplice.evaluation.summary import Summary, summarise
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.values import BuiltMetrics, build_metrics, compute
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.support import output_folder as folders
from vitsplice.support.jsonl import JsonLinesLog, Keys, key_of
from vitsplice.support.output_folder import resumable
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import one_line, printable


def evaluate(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> Summary | None:
    """Evaluate methods over a set of pairs; None if it was stopped. The same plan goes on with what is finished.

    Raises:
        OutputExists: if the folder holds another evaluation and ``force`` is not given.
        OutputBusy: if another process is writing to it.
        UserError: if a method has no outputs at all, or no metric can be had.
        VitspliceError: as reading the manifest and loading the backbone do.
    """
    device = pick_device(plan.device)
    total = _count(plan)
    built = build(plan, device, progress.note)
    wanted = told(plan, built, str(device))
    with resumable(Path(out), WORK, wanted, force=force) as path, JsonLinesLog(path / VALUES) as log:
        found = _measure(plan, built.over("pair"), device, log, total, progress)
        if found is None:
            return None
        keys, accounts = found
        with JsonLinesLog(path / SETS) as sets:
            whole = _measure_sets(plan, built.over("set"), device, sets, keys, progress)
        if whole is None:
            return None
        progress.part("summary", total, total)
        summary = summarise(plan, built, log, keys, accounts, whole)
        write(path, summary, log, keys)
        page = gallery(plan, summary, log, keys, progress)
        if page is None:
            return None
        folders.write(path, {GALLERY: page.encode()})
        return summary


def _count(plan: Plan) -> int:
    """How many pairs there are. Raises UserError if there is none, or a method has no output for any."""
    total = count(plan.pairs)
    if not total:
        raise UserError(f"{printable(str(plan.pairs))} has no pairs")
    without = dict.fromkeys(plan.methods)
    for pair in read(plan.pairs, unique=False):
        for method in list(without):
            if method.find(pair.id):
                del without[method]
        if not without:
            break
    if without:
        method = next(iter(without))
        raise UserError(
            f"method {method.name}: {printable(str(method.folder))} has no output for any of the {total} pairs; "
            f"outputs are looked for in {LAYOUT}"
        )
    return total


def build(plan: Plan, device: torch.device, note: Callable[[str], object]) -> BuiltMetrics:
    """Build the metrics of a plan. Raises UserError if none is available."""
    known = catalogue()
    specs = [known.metrics[name] for name in dict.fromkeys(plan.metrics)] or list(known.metrics.values())
    if plan.backbone:
        known.backbones[plan.backbone]  # raises for an unknown name
    for name in set(plan.optimised.values()) - {"none"}:
        known.backbones[name]
    chosen = settings_for(backbone=plan.backbone).backbone
    backbones = MetricBackbones(known, device, chosen)
    built = build_metrics(specs, MetricContext(backbones.load, chosen.name, device))
    if backbones.substitution:
        note(str(backbones.substitution))
    if not built.metrics:
        reasons = "; ".join(f"{name}: {why}" for name, why in built.unavailable.items())
        raise UserError(f"none of the metrics is available: {reasons}")
    return built


def _measure(
    plan: Plan,
    metrics: Sequence[tuple[MetricSpec, Metric]],
    device: torch.device,
    log: JsonLinesLog,
    total: int,
    progress: ProgressReporter,
) -> tuple[Keys, dict[str, Account]] | None:
    """Metrics of every output that has none yet, or of which some failed, pair by pair; None if it was stopped.

    Returns:
        The key of each case ``(methods, pairs)``, 0 where there is none, and an account of each method.
    """
    keys, accounts = array("Q"), {method.name: Account() for method in plan.methods}
    for done, pair in enumerate(read(plan.pairs, unique=False)):
        if progress.stopped():
            return None
        progress.part(pair.id, done, total)
        images = Images(pair, device)
        for method in plan.methods:
            keys.append(_measure_one(pair, method, images, metrics, log, accounts[method.name]))
    return np.frombuffer(keys, np.uint64).reshape(-1, len(plan.methods)).T, accounts


def _measure_one(
    pair: Pair,
    method: Method,
    images: Images,
    metrics: Sequence[tuple[MetricSpec, Metric]],
    log: JsonLinesLog,
    account: Account,
) -> int:
    """The key of a case whose metrics are in the log now, or 0 if it has none."""
    output = method.find(pair.id)
    if output is None:
        account.failed(pair.id, "no output", missing=True)
        return 0
    try:
        name = key(pair, method, output)
        new = name not in log
        before = _record(pair, method, output) if new else log[name]
        again = metrics if new else [one for one in metrics if one[0].name in before.get("why", {})]
        if new or again:
            values, why = metrics_of(images.case(output), again)
            after = before | {"metrics": before["metrics"] | values, "why": why}
            if new or after != before:
                log.add(name, after)
    except ImageError as error:
        account.failed(pair.id, one_line(str(error)), missing=False)
        return 0
    account.measured += 1
    return name


def _record(pair: Pair, method: Method, output: Path) -> dict[str, Any]:
    """What is kept of a case, as yet without metrics. Raises ImageError if its run was not finished."""
    optimised = of_run(output)
    told: dict[str, Any] = {"method": method.name, "id": pair.id, "metrics": {}}
    return told | ({"optimised": asdict(optimised)} if optimised else {})


def metrics_of(
    cases: Case | Iterator[Case], metrics: Sequence[tuple[MetricSpec, Metric]]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Compute metrics of a case or of a set of cases: values, and the reasons of those that failed.

    Values are rounded to the precision of float32, so that its noise decides no rank.
    """
    values = [compute(spec, metric, cases) for spec, metric in metrics]
    rounded = {one.name: None if one.value is None else float(f"{one.value:.6g}") for one in values}
    return rounded, {one.name: one.reason for one in values if one.failed}


def _measure_sets(
    plan: Plan,
    metrics: Sequence[tuple[MetricSpec, Metric]],
    device: torch.device,
    log: JsonLinesLog,
    keys: Keys,
    progress: ProgressReporter,
) -> Mapping[tuple[str, str], Mapping[str, Any]] | None:
    """(metric, method) -> the figure of its set, of how many cases and why not; None if it was stopped."""
    found, done = {}, 0
    for spec, metric in metrics:
        for row, method in enumerate(plan.methods):
            progress.part(f"{spec.name} of {method.name}", done, len(metrics) * len(plan.methods))
            done += 1
            chosen = chosen_pairs(plan.pairs, keys[row], spec.max_pairs)
            name = key_of(spec.name, method.name, *(number for _, number in chosen))
            if name not in log or log[name]["why"]:
                cases = _cases(method, [pair for pair, _ in chosen], device, progress)
                values, why = metrics_of(cases, [(spec, metric)])
                if progress.stopped():
                    return None
                told = {"value": values[spec.name], "cases": len(chosen), "why": why.get(spec.name, "")}
                log.add(name, {"metric": spec.name, "method": method.name, **told})
            found[spec.name, method.name] = log[name]
    return found


def chosen_pairs(manifest: Path, keys: NDArray[np.uint64], most: int) -> list[tuple[Pair, int]]:
    """At most so many of the pairs whose key is not 0, with it: those whose ids have the smallest hashes, by hash.

    The same pairs in the same order, whatever the order of the manifest.
    """
    pairs = read(manifest, unique=False)
    there = ((key_of(pair.id), pair, int(number)) for pair, number in zip(pairs, keys, strict=True) if number)
    return [(pair, number) for _, pair, number in heapq.nsmallest(most, there, key=lambda found: found[0])]


def _cases(method: Method, pairs: Sequence[Pair], device: torch.device, progress: ProgressReporter) -> Iterator[Case]:
    for pair in pairs:
        output = method.find(pair.id)
        if progress.stopped() or output is None:
            return
        yield Images(pair, device).case(output)
