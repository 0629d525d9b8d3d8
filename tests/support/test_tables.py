import csv
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vitsplice
from tests.analysis.toys import Toy, colour
from vitsplice.analysis.comparison import ComparisonData, LayerAgreement, Measure
from vitsplice.contracts import FeatureRequest
from vitsplice.datasets import Pair, read, write
from vitsplice.engine.values import Step
from vitsplice.evaluation import report as evaluation
from vitsplice.keypoints import report as keypoints
from vitsplice.metrics.statistics import MeanInterval
from vitsplice.runs.artifacts import RunFolder, losses_csv
from vitsplice.support.tables import csv_row, escape_csv, escape_markdown, markdown_table, unescape_csv

HOSTILE = [
    "=1+cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "''@x",
    "\uff1d1+1",
    '=","',
]
HARMLESS = ["cow", "a=b", "'quoted'", "", "-0.5", "+1e-07", "-1", "'", "a;b", "a,b", 'a "b"']


def parsed(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def is_formula(cell):
    """Return whether a spreadsheet may evaluate a cell, independently of the code under test."""
    try:
        float(cell)
    except ValueError:
        return cell[:1] in {*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"}
    return False


@pytest.mark.parametrize("text", HOSTILE + HARMLESS)
def test_cells_are_escaped_as_text_and_read_back(text):
    ((cell, after),) = parsed(csv_row([text, "after"]))
    assert not is_formula(cell)
    assert after == "after"
    assert unescape_csv(cell) == text
    assert (cell == text) == (text in HARMLESS)


def test_numbers_are_unchanged_and_none_is_an_empty_cell():
    assert csv_row([-1, 0.1 + 0.2, -1e-300, None, True]) == "-1,0.30000000000000004,-1e-300,,True\n"


def keypoints_of(name):
    names = dict.fromkeys(("backbone", "facet", "pair", "category"), name)
    records = {7: {**names, "layer": "-1", "errors": [0.01], "outside": 0}}
    mean = MeanInterval(0.5, float("nan"), float("nan"), 1, "")
    pck = SimpleNamespace(per_pair={0.1: mean}, per_keypoint={0.1: 1.0}, pairs=1, keypoints=1)
    backbone = SimpleNamespace(name=name, block=lambda layer: 11)
    feature = SimpleNamespace(backbone=backbone, request=FeatureRequest(name, -1), categories={name: pck})
    return SimpleNamespace(alphas=(0.1,), features=[feature]), records, np.array([7])


def evaluation_of(name):
    metrics = {name: SimpleNamespace(over="pair")}
    log = {7: {"method": name, "id": name, "metrics": {name: -0.5}}}
    return SimpleNamespace(metrics=metrics), log, np.array([[7]])


def comparison_of(name):
    info = Toy(colour).info
    measures = (Measure(name, name, -1, "pck", name, name, -0.5),)
    return ComparisonData({name: info}, (name,), measures, LayerAgreement(*[torch.ones(1, 1)] * 3, 1))


WRITERS = {
    "losses.csv": lambda name: losses_csv([Step(0, -0.5, {name: -0.5})], [name]),
    "metrics.csv": lambda name: comparison_of(name).csv(),
    "values.csv": lambda name: "".join(evaluation._csv_rows(*evaluation_of(name))),
    "keypoints: pairs.csv": lambda name: "".join(keypoints._pairs_csv(*keypoints_of(name))),
    "keypoints: summary.csv": lambda name: "".join(keypoints._summary_csv(keypoints_of(name)[0])),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("writer", WRITERS)
def test_hostile_names_are_escaped_in_every_csv_file(writer, name):
    cells = [cell for row in parsed(WRITERS[writer](name)) for cell in row]
    assert escape_csv(name) in cells
    assert not list(filter(is_formula, cells))


@pytest.mark.parametrize("value", HOSTILE + HARMLESS)
def test_formulas_in_a_manifest_are_escaped_and_read_back(value, tmp_path):
    pair = Pair("cow", tmp_path / "=s.png", tmp_path / "'=a.png", licence=value.strip(), source=value.strip())
    for name in ("pairs.csv", "pairs.jsonl"):
        write(tmp_path / name, [pair])
        assert list(read(tmp_path / name)) == [pair]
    text = (tmp_path / "pairs.csv").read_text()
    assert "./=s.png,./'=a.png" in text
    assert not [cell for row in parsed(text) for cell in row if is_formula(cell)]


def test_losses_of_a_term_with_a_hostile_name_are_read_back(tmp_path):
    (tmp_path / "losses.csv").write_text(losses_csv([Step(0, 1.0, {"=x": -0.5})], ["=x"]))
    assert [step.losses for step in RunFolder(tmp_path).losses()] == [{"=x": -0.5}]


def test_every_csv_file_is_written_by_one_module():
    package = Path(vitsplice.__file__).parent
    for path in set(package.rglob("*.py")) - {package / "support" / "tables.py"}:
        assert not re.search(r"\.\s*(writer|DictWriter|to_csv|savetxt)\b", path.read_text()), path


def test_links_and_headings_are_escaped_in_markdown_and_intervals_are_not():
    assert escape_markdown("[x](y) ~~d~~ #") == r"[x]\(y) \~\~d\~\~ #"
    assert escape_markdown("# heading") == r"\# heading"
    assert escape_markdown("0.5 [0.4, 0.6] (1)") == "0.5 [0.4, 0.6] (1)"


def test_markdown_table_shows_cells_as_text():
    assert markdown_table(["name", "value"], [["a|*b*`c`", "<i>_\\"]]) == (
        "| name | value |\n| --- | --- |\n| a\\|\\*b\\*\\`c\\` | &lt;i&gt;\\_\\\\ |"
    )
