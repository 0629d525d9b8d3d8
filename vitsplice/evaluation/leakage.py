"""Networks and loss terms that methods used, from the records of their outputs, and warnings of metric leakage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from vitsplice.batch.transfer_record import RECORD as TRANSFERS
from vitsplice.batch.transfer_record import read_record
from vitsplice.errors import ConfigError, ImageError, PathRejected
from vitsplice.evaluation.plan import EvaluationPlan
from vitsplice.metrics.leakage import Leakage, NetworkId, OptimisedParts
from vitsplice.presets import loading
from vitsplice.runs.artifacts import OUTPUT, RECORD, SETTINGS, RunFolder
from vitsplice.support.files import file_sha256, read_json_object, read_regular
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.text import printable


def read_optimised(output: Path) -> OptimisedParts | None:
    """Read the networks and loss terms behind an output: those of its run, or of the training of its model.

    Returns:
        The networks and loss terms; None if the output has no valid record.

    Raises:
        ImageError: if the output is that of an unfinished run.
    """
    try:
        of_model = _optimised_by_model(output)
        if of_model or output.name != OUTPUT:
            return of_model
        record = read_json_object(output.parent / RECORD)
        if record.get("finished") is False or (not record and RunFolder(output.parent).has_begun()):
            raise ImageError(f"{printable(str(output))} is the output of an unfinished run; resume it")
        settings = read_regular(output.parent / SETTINGS).decode()
        return OptimisedParts.of_run(record, _terms(settings))
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError, ConfigError, PathRejected):
        return None


def _optimised_by_model(output: Path) -> OptimisedParts | None:
    """Read the networks and loss terms of the model of an output; None if no record has the output as it is now."""
    record = output.parent / TRANSFERS
    if not record.is_file():
        return None
    status = record.stat()
    entry = _transfers(output.parent, status.st_size, status.st_mtime_ns).get(output.name)
    model = entry["model"] if entry and entry["sha256"] == file_sha256(output) else None
    return OptimisedParts.of_run({"backbones": {}, "model": model}, ()) if model else None


@lru_cache(maxsize=16)
def _transfers(folder: Path, size: int, changed: int) -> dict[str, dict[str, Any]]:
    """Read the transfer record of a folder, once for each size and modification time of its file."""
    return read_record(folder)


@lru_cache(maxsize=16)
def _terms(settings: str) -> tuple[str, ...]:
    return tuple(sorted(loading.load(settings, SETTINGS).optimised_losses))


def optimised_by_methods(plan: EvaluationPlan, log: JsonLinesLog, keys: Keys) -> dict[str, OptimisedParts | None]:
    """Return the networks and loss terms that each method used, from the records of its outputs.

    The value is None if an output has no record, or no record has a network. Networks that the plan states replace
    those of the records.
    """
    parts: dict[str, OptimisedParts | None] = {}
    for row, method in enumerate(plan.methods):
        records = [log[int(key)].get("optimised") for key in keys[row] if key]
        if (backbones := plan.optimised.get(method.name)) is None:
            parts[method.name] = _union(records)
        else:
            recorded = _union(record for record in records if record is not None)
            parts[method.name] = OptimisedParts(tuple(map(NetworkId, backbones)), recorded.terms if recorded else ())
    return parts


def _union(records: Iterable[Any]) -> OptimisedParts | None:
    networks: dict[NetworkId, None] = {}
    terms: set[str] = set()
    for record in records:
        if record is None:
            return None
        networks |= {NetworkId(**network): None for network in record["networks"]}
        terms |= set(record["terms"])
    return OptimisedParts(tuple(networks), tuple(sorted(terms))) if networks else None


def leakage_warnings(method: str, optimised: OptimisedParts | None, leakages: Mapping[str, Leakage]) -> Iterator[str]:
    """Yield warnings of the metrics (name -> leakage) that are biased in favour of a method."""
    if optimised is None:
        return
    if metrics := [name for name, leaked in leakages.items() if leaked == "network"]:
        networks = ", ".join(printable(network.name) for network in optimised.networks)
        if len(optimised.networks) == 1:
            role = "the network"
        else:
            role = "one of them the network" if len(metrics) == 1 else "among them networks"
        yield f"{method} used {networks}, {role} of {', '.join(metrics)}; {_biased(metrics)} in its favour"
    if metrics := [name for name, leaked in leakages.items() if leaked == "term"]:
        yield f"{method} optimised loss terms like {', '.join(metrics)}; {_biased(metrics)} in its favour"


def _biased(metrics: list[str]) -> str:
    return "this metric is biased" if len(metrics) == 1 else "these metrics are biased"
