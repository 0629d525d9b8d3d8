"""Files of an analysis: JSON for programs, CSV with the comparisons as a table, Markdown for reading."""

from __future__ import annotations

from dataclasses import asdict

from vitsplice.metrics.statistics import Interval
from vitsplice.study.analysis import MethodComparison, MethodPreference, PreferenceRate, StudyAnalysis
from vitsplice.study.results import ANALYSIS_JSON
from vitsplice.support.files import json_bytes
from vitsplice.support.tables import csv_document, escape_markdown, markdown_table
from vitsplice.text import with_count

FILES = (ANALYSIS_JSON, "analysis.csv", "analysis.md")

COMPARISON_COLUMNS = ("set", "methods", "chosen / trials", "raters", "preferred", "95 %, raters", "95 %, trials", "p",
                      "p, Holm", "agree", "alpha")  # fmt: skip
PREFERENCE_COLUMNS = ("method", "chosen / trials", "preferred to others", "95 %, raters", "95 %, trials",
                      "Bradley-Terry")  # fmt: skip

LEGEND = """\
- *preferred*: fraction of trials in which the first method was chosen; *preferred to others*: fraction of a method's
  trials in which it was chosen.
- *95 %, raters*: BCa bootstrap interval that resamples raters, each with all of their trials. **Report this one**: it
  generalises to other raters, for these pairs of images.
- *95 %, trials*: Wilson's interval, as if all trials were independent. It is too narrow where raters differ in taste,
  because the trials of one rater are then not independent.
- *p*: exact two-sided binomial test against one half, as if all trials were independent; *p, Holm*: adjusted by
  Holm's method for the number of planned comparisons, also counting those without votes. The comparisons over all pairs
  of images (set *all*) are one family of tests; the comparisons within the named sets together are another.
- *agree*: how often two raters chose the same method for the same pair of images; *alpha*: Krippendorff's alpha for
  nominal data: 1 is full agreement, 0 is chance. Where nearly all raters prefer one method, alpha can be near 0
  although they agree.
- *Bradley-Terry* (three methods or more): score of a method, with mean 0 over the methods. One method is preferred to
  another with odds exp(first score - second score).
"""


def report_files(analysis: StudyAnalysis) -> dict[str, bytes]:
    """Return the content of the files of an analysis by name (`FILES`)."""
    contents = (json_bytes(asdict(analysis)), _csv(analysis).encode(), markdown(analysis).encode())
    return dict(zip(FILES, contents, strict=True))


def summary_line(analysis: StudyAnalysis) -> str:
    """Return one sentence about raters, sides and times."""
    included, excluded = with_count(len(analysis.raters), "rater"), with_count(len(analysis.excluded), "result")
    return (
        f"{included} included, {excluded} excluded; left was chosen in {_percent(analysis.left_rate)} of trials; "
        f"the median trial took {analysis.median_ms / 1000:.1f} s (checks not counted)"
    )


def comparison_cells(comparison: MethodComparison) -> tuple[str, ...]:
    """Format a comparison as a row below `COMPARISON_COLUMNS`."""
    c = comparison
    counts, *rates = _rate_cells(c.preferred)
    agreement = "-" if c.agreement is None else _percent(c.agreement), "-" if c.alpha is None else f"{c.alpha:.2f}"
    return (
        c.set or "all", f"{c.first} over {c.second}", counts, str(c.raters), *rates, _p_value(c.p), _p_value(c.p_holm),
        *agreement,
    )  # fmt: skip


def preference_cells(preference: MethodPreference) -> tuple[str, ...]:
    """Format the preference for a method as a row below `PREFERENCE_COLUMNS`."""
    score = "-" if preference.score is None else f"{preference.score:+.2f}"
    return preference.method, *_rate_cells(preference.preferred), score


def _rate_cells(rate: PreferenceRate) -> tuple[str, str, str, str]:
    intervals = _interval(rate.rater_interval), _interval(rate.trial_interval)
    return f"{rate.wins}/{rate.trials}", _percent(rate.rate), *intervals


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def markdown(analysis: StudyAnalysis) -> str:
    """Format the analysis as Markdown."""
    parts = [
        f"# {escape_markdown(analysis.title)}: study {escape_markdown(analysis.study)}",
        escape_markdown(analysis.question),
        f"{summary_line(analysis)}.",
        markdown_table(COMPARISON_COLUMNS, map(comparison_cells, analysis.comparisons)),
    ]
    if analysis.preferences:
        parts.append(markdown_table(PREFERENCE_COLUMNS, map(preference_cells, analysis.preferences)))
    parts.append(LEGEND.rstrip())
    if analysis.notes:
        parts.append("\n".join(f"- Note: {escape_markdown(note)}." for note in analysis.notes))
    if analysis.checks_passed:
        rows = [(check, f"{passed}/{shown}") for check, (passed, shown) in analysis.checks_passed.items()]
        parts += ["## Checks", markdown_table(("pair, method", "passed"), rows)]
    if analysis.excluded:
        reasons = [(result.rater, result.source, "; ".join(result.reasons)) for result in analysis.excluded]
        parts += ["## Excluded results", markdown_table(("rater", "file", "reasons"), reasons)]
    return "\n\n".join(parts) + "\n"


def _csv(analysis: StudyAnalysis) -> str:
    rows = []
    for comparison in analysis.comparisons:
        row = asdict(comparison)
        row |= row.pop("preferred")
        for name in ("rater_interval", "trial_interval"):
            row[f"{name}_low"], row[f"{name}_high"] = row.pop(name) or (None, None)
        rows.append(row)
    return csv_document([rows[0], *(row.values() for row in rows)])
