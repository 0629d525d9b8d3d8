"""The files of an evaluation, made of its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vitsplice.evaluation import plots, tables
from vitsplice.evaluation.plan import CSV, JSON, MARKDOWN
from vitsplice.evaluation.summary import Summary
from vitsplice.support import output_folder as folders
from vitsplice.support.jsonl import JsonLinesLog, Keys, write_lines
from vitsplice.support.tables import csv_row


def write(path: Path, summary: Summary, log: JsonLinesLog, keys: Keys) -> None:
    """Write the values as CSV, the summary and the plots. Raises VitspliceError if one cannot be written."""
    write_lines(path / CSV, _csv(summary, log, keys))
    files = {
        JSON: json.dumps(summary.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        MARKDOWN: tables.markdown(summary),
    }
    drawn = {f"{drawing.name}.png": drawing.png() for drawing in plots.drawings(summary)}
    folders.write(path, {name: text.encode() for name, text in files.items()} | drawn)


def _csv(summary: Summary, log: JsonLinesLog, keys: Keys) -> Iterator[str]:
    """A line an output, in the order of the pairs; a column a figure, empty where there is none."""
    names = [name for name, one in summary.metrics.items() if one.spec.over == "pair"]
    yield csv_row(["method", "id", *names])
    for key in keys.T.ravel():
        if key:
            record = log[int(key)]
            yield csv_row([record["method"], record["id"], *(record["metrics"].get(name) for name in names)])
