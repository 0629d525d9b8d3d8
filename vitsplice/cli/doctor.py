"""``vitsplice doctor``: whether the main job can run here, and what a report of a fault needs."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON, for programs.")] = False,
) -> None:
    """Look at versions, device, memory, plugins, weights and folders; exit 1 if the main job could not run."""
    from dataclasses import asdict

    from vitsplice.plugins import catalogue
    from vitsplice.text import one_line
    from vitsplice.tools.doctor import examine

    found = examine(catalogue())
    well = not any(finding.fatal for finding in found)
    if as_json:
        typer.echo(json.dumps({"well": well, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        section = ""
        for finding in found:
            if finding.section != section:
                section = finding.section
                typer.echo(section)
            mark = "FAULT" if finding.fatal else "note" if finding.advice else ""
            advice = f"  {mark}: {one_line(finding.advice)}" if mark else ""
            typer.echo(f"  {one_line(finding.name):<22} {one_line(finding.value)}{advice}")
        typer.echo("The main job can run." if well else "The main job cannot run: see FAULT above.")
    if not well:
        raise typer.Exit(1)
