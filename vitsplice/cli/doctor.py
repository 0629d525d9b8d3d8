"""``vitsplice doctor``: check the installation."""

from __future__ import annotations

from dataclasses import asdict

import typer

from vitsplice.cli.options import AsJson
from vitsplice.cli.output import print_json


def doctor(as_json: AsJson = False) -> None:
    """Check versions, device, memory, plugins, weights and folders; exit with code 1 if `vitsplice run` cannot work."""
    from vitsplice.plugins import catalogue
    from vitsplice.text import one_line
    from vitsplice.tools.doctor import diagnose

    checks = diagnose(catalogue())
    passed = not any(check.fatal for check in checks)
    if as_json:
        print_json({"passed": passed, "checks": [asdict(check) for check in checks]})
    else:
        section = ""
        for check in checks:
            if check.section != section:
                section = check.section
                typer.echo(section)
            mark = "FAULT" if check.fatal else "note" if check.advice else ""
            advice = f"  {mark}: {one_line(check.advice)}" if mark else ""
            typer.echo(f"  {one_line(check.name):<22} {one_line(check.value)}{advice}")
        typer.echo(
            "vitsplice run works on this machine."
            if passed
            else "vitsplice run does not work on this machine: see the lines with FAULT."
        )
    if not passed:
        raise typer.Exit(1)
