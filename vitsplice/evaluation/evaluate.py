"""The evaluation: measures every output of every method, one pair at a time, and resumes from finished values."""

from __future__ import annotations

import heapq
import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.contracts import Case, Metric, MetricContext, MetricSpec
from vitsplice.datasets import Pair, count, read
from vitsplice.engine.device import pick_device
from vitsplice.errors import ImageError, ImageNotFound, UserError, VitspliceError
from vitsplice.evaluation.cases import CaseCounts, PairImages, case_key
from vitsplice.evaluation.gallery import gallery
from vitsplice.evaluation.leakage import read_optimised
from vitsplice.evaluation.plan import GALLERY, LAYOUT, SETS, VALUES, WORK, EvaluationPlan, Method
from vitsplice.evaluation.report import write_report
from vitsplice.evaluation.summary import EvaluationSummary, summarise
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.values import BuiltMetrics, build_metrics, compute, mean_values
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.runs.inputs import region_masks
from vitsplice.support import output_folder
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.jsonl import JsonLinesLog, Keys, key_of
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.support.resumable_work import resumable
from vitsplice.text import one_line, printable


def evaluate(
    plan: EvaluationPlan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> EvaluationSummary | None:
    """Evaluate methods over a set of pairs.

    Values that the folder already holds are reused if the methods, files, metrics, device and versions are the same.

    Args:
        plan: what to evaluate.
        out: output folder.
        force: allow another evaluation in the folder to be replaced; its values are reused where they apply.
        progress: progress reporter.

    Returns:
        The summary, or None if the progress reporter stopped the evaluation.

    Raises:
        OutputExists: if the folder holds another evaluation and ``force`` is not given.
        OutputBusy: if another process is writing to the folder.
        UserError: if there are no pairs, a method has no output for any of them, the manifest, an image or an output
            is a file that the evaluation writes, no metric is available, or the plan has an unknown name
            or an unavailable device.
        VitspliceError: if the manifest cannot be read or changes meanwhile, or a file cannot be written.
    """
    device = pick_device(plan.device)
    total = _count_pairs(plan)
    _check_no_file_counts_as_output(plan, Path(out))
    _check_inputs_survive(plan, Path(out))
    built = _metrics_of(plan, device, progress.note)
    record = plan.record(built, str(device))
    with (
        resumable(Path(out), WORK, record, force=force) as path,
        JsonLinesLog(path / VALUES) as values,
        JsonLinesLog(path / SETS) as sets,
    ):
        try:
            return _Evaluation(plan, built, device, progress).run(path, values, sets, total)
        finally:
            _check_unchanged(plan, record["pairs"])


def _check_unchanged(plan: EvaluationPlan, recorded: Mapping[str, str]) -> None:
    """Raise VitspliceError if the manifest has changed; called last, as the change may have caused another error."""
    if plan.manifest_record() != recorded:
        raise VitspliceError(
            f"{printable(str(plan.pairs))} was changed during the evaluation; finished values remain valid. To "
            "evaluate the changed manifest, repeat the evaluation with ",
            output_folder.REPLACE,
        )


def _count_pairs(plan: EvaluationPlan) -> int:
    """Count the pairs. Raises UserError if there is none, or a method has no output for any of them."""
    total = count(plan.pairs)
    if not total:
        raise UserError(f"{printable(str(plan.pairs))} has no pairs")
    missing = list(plan.methods)
    for pair in read(plan.pairs, unique=False):
        missing = [method for method in missing if not any(method.outputs(pair.id))]
        if not missing:
            return total
    raise UserError(
        f"method {missing[0].name}: {printable(str(missing[0].folder))} has no output for any of the {total} pairs; "
        f"outputs are {LAYOUT}"
    )


def _check_inputs_survive(plan: EvaluationPlan, out: Path) -> None:
    """Raise UserError if the manifest, an image or an output is, or links to, a file that the evaluation writes."""
    images = (path for path in _images(plan) if path.name in WORK.files or os.path.islink(path))
    check_inputs_survive(chain([plan.pairs], images), (out / name for name in WORK.files))


def _check_no_file_counts_as_output(plan: EvaluationPlan, out: Path) -> None:
    """Raise UserError if a file that the evaluation writes would be the output of a method for a pair."""
    names = [method.name for method in plan.methods if os.path.exists(out) and os.path.samefile(method.folder, out)]
    written = (pair.id for pair in read(plan.pairs, unique=False) if f"{pair.id}.png" in WORK.files)
    if names and (pair_id := next(written, None)):
        raise UserError(
            f"the evaluation writes {pair_id}.png, which would count as the output of method {names[0]} for pair "
            f"{pair_id}; choose another output folder"
        )


def _images(plan: EvaluationPlan) -> Iterator[Path]:
    """Yield the paths of all images and masks, and those of outputs ``FOLDER/ID.png``, which need not exist."""
    for pair in read(plan.pairs, unique=False):
        yield from (pair.images | region_masks(pair.regions)).values()
        yield from (method.folder / f"{pair.id}.png" for method in plan.methods)


def _metrics_of(plan: EvaluationPlan, device: torch.device, note: Callable[[str], object]) -> BuiltMetrics:
    """Build the metrics of a plan. Raises UserError if none is available, or a metric or backbone is unknown."""
    known = catalogue()
    specs = [known.metrics[name] for name in dict.fromkeys(plan.metrics)] or list(known.metrics.values())
    for name in filter(None, [plan.backbone, *chain(*plan.optimised.values())]):
        known.backbones[name]  # raises for an unknown name
    chosen = settings_for(backbone=plan.backbone).backbone
    backbones = MetricBackbones(known, device, chosen)
    built = build_metrics(specs, MetricContext(backbones.load, chosen.name, device))
    if backbones.substitution:
        note(str(backbones.substitution))
    if not built.metrics:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in built.unavailable.items())
        raise UserError(f"none of the metrics is available: {reasons}")
    return built


@dataclass(frozen=True)
class _Evaluation:
    plan: EvaluationPlan
    built: BuiltMetrics
    device: torch.device
    progress: ProgressReporter

    def run(self, path: Path, values: JsonLinesLog, sets: JsonLinesLog, total: int) -> EvaluationSummary | None:
        """Measure all cases and write the results into a folder; None if stopped."""
        if (measured := self.measure_pairs(values, total)) is None:
            return None
        keys, counts = measured
        if (set_records := self.measure_sets(sets, keys)) is None:
            return None
        self.progress.part("summary", total, total)
        summary = summarise(self.plan, self.built, values, keys, counts, set_records)
        write_report(path, summary, values, keys)
        if (page := gallery(self.plan, summary, values, keys, self.progress)) is None:
            return None
        output_folder.write(path, {GALLERY: page.encode()})
        return summary

    def measure_pairs(self, log: JsonLinesLog, total: int) -> tuple[Keys, dict[str, CaseCounts]] | None:
        """Measure the cases that are not in the log, and the failed metrics of those that are.

        Returns:
            Key of each case ``(methods, pairs)``, 0 where it cannot be measured, and counts of each method; None if
            stopped.
        """
        keys, counts = array("Q"), {method.name: CaseCounts() for method in self.plan.methods}
        for done, pair in enumerate(read(self.plan.pairs, unique=False)):
            if self.progress.stopped():
                return None
            self.progress.part(pair.id, done, total)
            images = PairImages(pair, self.device)
            for method in self.plan.methods:
                keys.append(self._measure_case(pair, method, images, log, counts[method.name]))
        return np.frombuffer(keys, np.uint64).reshape(-1, len(self.plan.methods)).T, counts

    def _measure_case(
        self, pair: Pair, method: Method, images: PairImages, log: JsonLinesLog, counts: CaseCounts
    ) -> int:
        """Measure a case, store its values in the log, and return its key; 0 if it cannot be measured."""
        try:
            output = method.output(pair.id)
            key = case_key(pair, method, output)
            new = key not in log
            before = {} if new else log[key]
            record = _record(pair, method, output, before)
            pending = [(s, m) for s, m in self.built.over("pair") if new or s.name in before.get("reasons", {})]
            if new or pending:
                values, reasons = compute_rounded(pending, images.cases(output), pair.weights)
                record |= {"metrics": record["metrics"] | values, "reasons": reasons}
            if record != before:
                log.add(key, record)
        except ImageError as error:
            counts.add_failure(pair.id, one_line(str(error)), missing=isinstance(error, ImageNotFound))
            return 0
        counts.measured += 1
        return key

    def measure_sets(self, log: JsonLinesLog, keys: Keys) -> Mapping[tuple[str, str], Mapping[str, Any]] | None:
        """Compute the metrics over sets: (metric, method) -> record; None if stopped."""
        records: dict[tuple[str, str], Mapping[str, Any]] = {}
        metrics, methods = self.built.over("set"), self.plan.methods
        for spec, metric in metrics:
            for row, method in enumerate(methods):
                self.progress.part(f"{spec.name} of {method.name}", len(records), len(metrics) * len(methods))
                chosen = choose_pairs(self.plan.pairs, keys[row], spec.max_pairs)
                key = key_of(spec.name, method.name, *(pair_key for _, pair_key in chosen))
                if key not in log or log[key]["reason"]:
                    cases = self._cases(method, [pair for pair, _ in chosen])
                    values, reasons = compute_rounded([(spec, metric)], [cases])
                    if self.progress.stopped():
                        return None
                    result = {"value": values[spec.name], "cases": len(chosen), "reason": reasons.get(spec.name, "")}
                    log.add(key, {"metric": spec.name, "method": method.name, **result})
                records[spec.name, method.name] = log[key]
        return records

    def _cases(self, method: Method, pairs: Sequence[Pair]) -> Iterator[Case]:
        """Yield a case for each pair, with its first appearance image, until a stop is requested."""
        for pair in pairs:
            if self.progress.stopped():
                return
            if not any(method.outputs(pair.id)):
                raise ImageNotFound(f"the output of {pair.id} was removed during the evaluation")
            yield PairImages(pair, self.device).cases(method.output(pair.id))[0]


def _record(pair: Pair, method: Method, output: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a case, with the values of its earlier record ``before``.

    The networks and loss terms behind the output are read again, because the record of its run may have changed.

    Raises ImageError for the output of an unfinished run.
    """
    optimised = read_optimised(output)
    # JSON turns tuples into lists, so that the record can be compared with one from the log.
    parts = {"optimised": json.loads(json.dumps(asdict(optimised)))} if optimised else {}
    values = {name: before[name] for name in ("metrics", "reasons") if name in before}
    return {"method": method.name, "id": pair.id, "metrics": {}} | parts | values


def compute_rounded(
    metrics: Sequence[tuple[MetricSpec, Metric]],
    cases: Sequence[Case | Iterator[Case]],
    weights: Sequence[float] = (),
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Compute metrics of one output, as means over its appearance images, or of a set of outputs.

    Args:
        metrics: metrics over pairs, or over sets.
        cases: a case for each appearance image, or a single iterator of the cases of a set.
        weights: weight of each case in the mean; empty: all are equal.

    Returns:
        Values, rounded to 6 significant digits, None where undefined, and reasons of failures, by name of the metric.
    """
    computed = [[compute(spec, metric, case) for spec, metric in metrics] for case in cases]
    results = mean_values(computed, weights or [1.0] * len(cases))
    values = {result.name: None if result.value is None else float(f"{result.value:.6g}") for result in results}
    return values, {result.name: result.reason for result in results if result.failed}


def choose_pairs(manifest: Path, keys: NDArray[np.uint64], max_pairs: int) -> list[tuple[Pair, int]]:
    """Choose at most ``max_pairs`` pairs with a measured case of one method; return each with the key of that case.

    The pairs with the smallest hashes of ids are chosen, so the order of the manifest does not matter.

    Args:
        manifest: path of the manifest.
        keys: key of the method's case of each pair, 0 if it is not measured.
        max_pairs: maximum number of pairs.
    """
    pairs = zip(read(manifest, unique=False), keys, strict=True)
    hashed = ((key_of(pair.id), pair, int(key)) for pair, key in pairs if key)
    return [(pair, key) for _, pair, key in heapq.nsmallest(max_pairs, hashed, key=lambda entry: entry[0])]
