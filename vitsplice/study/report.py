"""The analysis of a study as files: JSON for programs, CSV for a table, Markdown to be read."""

from __future__ import annotations

import json
from dataclasses import asdict

from vitsplice.metrics.statistics import Interval
from vitsplice.study.findings import Analysis, Comparison, Standing
from vitsplice.study.results import OWN
from vitsplice.support.tables import csv_document, escape_markdown, markdown_table

NAMES = (OWN, "analysis.csv", "analysis.md")

COLUMNS = ("set", "first", "second", "wins", "trials", "raters", "pairs", "rate", "raters_low", "raters_high",
           "trials_low", "trials_high", "p", "p_holm", "agreement", "alpha")  # fmt: skip

LEGEND = """\
- *preferred*: the share of trials in which the first was chosen.
- *95 %, raters*: BCa bootstrap that resamples raters, each with all of their trials. **Report this one**: it holds
  for other raters, and these pairs of images.
- *95 %, trials*: Wilson's interval, as if every trial were independent. Those of one rater are not: it is too narrow.
- *p*: exact two-sided binomial test against one half, with the same assumption; *p, Holm*: corrected for the number of
  comparisons (those of all pairs are one family, those of the sets another).
- *agree*: how often two raters chose alike in the same comparison; *alpha*: Krippendorff's, nominal: 1 is full
  agreement, 0 what chance gives. Where nearly all prefer one method, alpha can be near 0 although they agree.
"""


def files(analysis: Analysis) -> dict[str, bytes]:
    """The files by name (`NAMES`)."""
    texts = (json.dumps(asdict(analysis), indent=2, ensure_ascii=False) + "\n", _csv(analysis), markdown(analysis))
    return {name: text.encode() for name, text in zip(NAMES, texts, strict=True)}


def cells(comparison: Comparison) -> tuple[str, ...]:
    """A comparison as it is shown in a row: see `HEAD`."""
    c = comparison
    return (
        c.set or "all", f"{c.first} over {c.second}", f"{c.wins}/{c.trials}", str(c.raters), percent(c.rate),
        interval(c.over_raters), interval(c.over_trials), small(c.p), small(c.p_holm),
        "-" if c.agreement is None else percent(c.agreement), "-" if c.alpha is None else f"{c.alpha:.2f}",
    )  # fmt: skip


HEAD = ("set", "methods", "trials", "raters", "preferred", "95 %, raters", "95 %, trials", "p", "p, Holm", "agree",
        "alpha")  # fmt: skip


def standing_cells(standing: Standing) -> tuple[str, ...]:
    """A standing as it is shown in a row: see `STANDING_HEAD`."""
    s = standing
    score = "-" if s.score is None else f"{s.score:+.2f}"
    return s.method, f"{s.wins}/{s.trials}", percent(s.rate), interval(s.over_raters), interval(s.over_trials), score


STANDING_HEAD = ("method", "trials", "preferred to others", "95 %, raters", "95 %, trials", "Bradley-Terry")


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.1f} %"


def interval(found: Interval | None) -> str:
    """An interval in per cent."""
    return "-" if found is None else f"{100 * found[0]:.1f} to {100 * found[1]:.1f}"


def small(p: float) -> str:
    """A p value."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def markdown(analysis: Analysis) -> str:
    """The analysis as Markdown."""
    a = analysis
    parts = [
        f"# {escape_markdown(a.title)}: study {escape_markdown(a.study)}",
        escape_markdown(a.question),
        f"Raters who count: {len(a.raters)}; results that do not: {len(a.excluded)}. Left was chosen in "
        f"{percent(a.left)} of comparisons, which took {a.median_ms / 1000:.1f} s in the median.",
        markdown_table(HEAD, [cells(comparison) for comparison in a.comparisons]),
    ]
    if a.standings:
        parts.append(markdown_table(STANDING_HEAD, [standing_cells(standing) for standing in a.standings]))
    parts.append(LEGEND.rstrip())
    if a.notes:
        parts.append("\n".join(f"- Note: {escape_markdown(note)}." for note in a.notes))
    if a.checks_passed:
        rows = [(pair, f"{passed}/{shown}") for pair, (passed, shown) in a.checks_passed.items()]
        parts += ["## Checks", markdown_table(("pair", "passed"), rows)]
    if a.excluded:
        reasons = [(e.rater, e.source, "; ".join(e.reasons)) for e in a.excluded]
        parts += ["## Excluded", markdown_table(("rater", "file", "why"), reasons)]
    return "\n\n".join(parts) + "\n"


def _csv(analysis: Analysis) -> str:
    rows = (asdict(c) | _ends("raters", c.over_raters) | _ends("trials", c.over_trials) for c in analysis.comparisons)
    return csv_document([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)])


def _ends(of: str, found: Interval | None) -> dict[str, float | None]:
    low, high = found or (None, None)
    return {f"{of}_low": low, f"{of}_high": high}
