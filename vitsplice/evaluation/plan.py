"""The methods of an evaluation, and its plan."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitsplice.batch.plan import BATCH, pair_folder
from vitsplice.errors import Argument, ImageError, ImageNotFound, UserError
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.presets.model_folder import is_model_folder
from vitsplice.runs.artifacts import OUTPUT
from vitsplice.runs.record import versions
from vitsplice.support.files import absolute, file_sha256, inside, read_json_object, reading
from vitsplice.support.image_files import SUFFIXES
from vitsplice.support.resumable_work import ResumableWork
from vitsplice.text import printable

FORMAT = 4
PLAN, VALUES, SETS = "evaluate.json", "values.jsonl", "sets.jsonl"
CSV, JSON, MARKDOWN, GALLERY = "values.csv", "summary.json", "summary.md", "gallery.html"
PLOTS = ("differences.png", "scatter.png", "distributions.png")

WORK = ResumableWork(
    "evaluation",
    PLAN,
    parts=(VALUES, SETS),
    results=(CSV, JSON, MARKDOWN, GALLERY, *PLOTS),
    part_keys=("format", "metrics", "device", "versions"),
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")

LAYOUT = f"FOLDER/ID{{{','.join(SUFFIXES)}}}, FOLDER/ID/{OUTPUT}, or a folder of `vitsplice batch`"
"""The files that are read as outputs, for messages."""


@dataclass(frozen=True)
class Method:
    """A method to evaluate: a name, and the folder of its outputs.

    Args:
        name: name of the method.
        folder: folder of its outputs: images, run folders, or one variant of a batch.
    """

    name: str
    folder: Path

    def output(self, pair: str) -> Path:
        """Return the output for a pair's id. Raises ImageNotFound if there is none, ImageError if there are several."""
        outputs = [*self.outputs(pair)]
        if not outputs:
            raise ImageNotFound("no output")
        if len(outputs) > 1:
            names = " and ".join(printable(str(path.relative_to(self.folder))) for path in outputs)
            raise ImageError(f"several outputs: {names}; keep one of them")
        return outputs[0]

    def outputs(self, pair: str) -> Iterator[Path]:
        """Yield all outputs for a pair's id; there should be one."""
        candidates: list[tuple[str, ...]] = [(f"{pair}{suffix}", f"{pair}{suffix.upper()}") for suffix in SUFFIXES]
        candidates += [(f"{run}/{OUTPUT}",) for run in (pair, pair_folder(pair))]
        for names in candidates:  # some file systems do not distinguish upper and lower case
            existing = [path for name in names if os.path.isfile(path := self.folder / name)]
            yield from existing[:1] if len(existing) == 2 and os.path.samefile(*existing) else existing


def parse_method(text: str) -> Method:
    """Parse ``NAME=FOLDER``. The folder of a batch with one variant stands for that variant.

    Raises:
        UserError: if the text is not of that form, there is no such folder, it is a model, or it is a batch with no
            variant or with several.
    """
    name, _, folder = text.partition("=")
    if not NAME.fullmatch(name) or not folder:
        raise UserError(
            f"'{printable(text)}' is not a method; give NAME=FOLDER, with a name of at most 40 letters, digits and "
            ". _ + -, the first a letter or digit"
        )
    path = Path(folder)
    if not os.path.isdir(path):
        raise UserError(f"method {name}: there is no folder {printable(folder)}; outputs are {LAYOUT}")
    if is_model_folder(path):
        raise UserError(
            f"method {name}: {printable(folder)} is a model; give the folder of its outputs, which `vitsplice apply` "
            "or `vitsplice batch` writes"
        )
    if os.path.isfile(path / BATCH):
        by_name = read_json_object(path / BATCH).get("variants")
        variants = sorted(by_name) if isinstance(by_name, dict) else []
        if not variants:
            raise UserError(f"method {name}: {printable(str(path / BATCH))} is not the record of a batch")
        if len(variants) > 1:
            names = ", ".join(map(printable, variants[:8]))
            raise UserError(
                f"method {name}: {printable(folder)} is a batch of {len(variants)} variants ({names}); "
                f"give each as a method, such as NAME={printable(os.path.join(folder, *variants[:1]))}"
            )
        path = inside(path, variants[0])
    return Method(name, path)


@dataclass(frozen=True)
class EvaluationPlan:
    """Pairs, methods and metrics of an evaluation.

    Args:
        pairs: manifest of the pairs (`vitsplice.datasets.manifest`).
        methods: methods, at least one.
        metrics: names of metrics; empty: all.
        backbone: backbone of the metrics that work with any; None: that of the default preset.
        device: device of the metrics (`vitsplice.engine.device.pick_device`).
        optimised: method -> names of the backbones that its outputs were optimised with, () for none; used in place of
            those that the records of the outputs state.

    Raises:
        UserError: if there is no method, two have the same name, or ``optimised`` has an unknown method.
    """

    pairs: Path
    methods: tuple[Method, ...]
    metrics: tuple[str, ...] = ()
    backbone: str | None = None
    device: str = "auto"
    optimised: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names:
            raise UserError("give at least one method as NAME=FOLDER")
        if duplicates := [name for name in names if names.count(name) > 1]:
            raise UserError(f"method '{duplicates[0]}' is given twice; methods need different names")
        if unknown := [name for name in self.optimised if name not in names]:
            raise UserError(
                Argument("optimised"),
                f": no method '{printable(unknown[0])}'; the methods are {', '.join(names)}",
            )

    def record(self, built: BuiltMetrics, device: str) -> dict[str, Any]:
        """Return the plan as JSON data, for ``evaluate.json``.

        Stored values are kept if the keys `WORK.part_keys` of this record are unchanged. The values of a case are
        reused if the key of the case is unchanged (`vitsplice.evaluation.cases.case_key`).

        Args:
            built: the metrics, with their networks and parameters.
            device: name of the device that was picked for the metrics, such as ``cuda``.

        Raises:
            UserError: if the manifest cannot be read.
        """
        metrics = {
            spec.name: {
                "networks": [{"name": info.name, "sha256": info.sha256} for info in metric.networks],
                "parameters": dict(metric.parameters),
            }
            for spec, metric in built.metrics
        }
        record = {
            "format": FORMAT,
            "pairs": self.manifest_record(),
            "methods": {method.name: str(absolute(method.folder)) for method in self.methods},
            "metrics": metrics,
            "device": device,
            "versions": versions(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain

    def manifest_record(self) -> dict[str, str]:
        """Return the path and the SHA-256 of the manifest. Raises UserError if it cannot be read."""
        with reading(self.pairs):
            return {"path": str(absolute(self.pairs)), "sha256": file_sha256(self.pairs)}
