"""Faults that a run may encounter: exit codes, messages and what is preserved.

VITSPLICE_WRITE_DOCS=1 python -m pytest tests/cli/test_faults.py writes docs/faults.md.
"""

import os
import re
from pathlib import Path

import pytest
import vitsplice_tiny

from tests.cli.fault_scenarios import FAULTS, HANG_SECONDS, Scene
from vitsplice.plugins import registry
from vitsplice.plugins.sandbox import SECONDS

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = """# Troubleshooting

Faults with their exit codes, messages and what is preserved. `tests/cli/test_faults.py` produces every row.
The command is `vitsplice run`; for a model it is `vitsplice apply`, and for the last two rows `vitsplice plugins`.
`vitsplice doctor` checks an installation; `--debug` shows tracebacks.

| fault | exit code | message | preserved |
|---|---|---|---|
"""
TINY_TERMS = [spec.name for spec in vitsplice_tiny.vitsplice_losses()]

REPORTS = "^stopped|--resume|no checkpoint|failed:|not measured: out of memory"
"""Pattern of the lines that report a fault if the command prints no error."""

rows = {}
"""Rows of the table that were produced in this session, by the name of the fault."""


def message(done):
    """Format the error of a command, or else what it reports, as a cell of the table."""
    lines = [" ".join(line.split()) for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    first = next((n for n, line in enumerate(lines) if line.startswith("error:")), None)
    reports = [line for line in lines if re.search(REPORTS, line)]
    cell = reports if first is None else lines[first:]
    return "<br>".join(f"`{line.replace('`', chr(39))}`" for line in cell) or "-"


def row(name, done):
    """Format a row of the table, with the limit and the loss terms of a user instead of those of these tests."""
    text = message(done).replace(f"more than {HANG_SECONDS:g} seconds", f"more than {SECONDS:g} seconds")
    for term in TINY_TERMS:
        text = text.replace(f", {term}", "")
    return f"| {name} | {done.returncode} | {text} | {FAULTS[name][1]} |"


@pytest.mark.usefixtures("fresh_catalogue", "small_metrics", "no_plots")
@pytest.mark.parametrize("name", FAULTS)
def test_fault_gives_its_row_of_faults_md_and_leaves_no_temporary_files(vitsplice, png, tmp_path, monkeypatch, name):
    monkeypatch.setattr(registry, "MAX_LISTED", registry.MAX_LISTED + len(TINY_TERMS))
    done = FAULTS[name][0](Scene(vitsplice, tmp_path, monkeypatch))
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    rows[name] = row(name, done).replace(str(tmp_path), "")
    if os.environ.get("VITSPLICE_WRITE_DOCS"):
        TABLE.write_text(HEAD + "\n".join(rows[name] for name in FAULTS if name in rows) + "\n")
    assert rows[name] in TABLE.read_text().splitlines()


def test_faults_md_has_a_row_for_each_tested_fault_and_no_others():
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(FAULTS)
