"""``vitsplice correspond``: which places of one image are like which of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.wording import DEVICE, IMAGE_HELP, Backbone, notes


def correspond(
    first: Annotated[Path, typer.Argument(metavar="A", help=f"Its places are matched. {IMAGE_HELP}")],
    second: Annotated[Path, typer.Argument(metavar="B", help=f"They are matched with its places. {IMAGE_HELP}")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the images and numbers.")] = Path(
        "vitsplice-matches"
    ),
    backbone: Backbone = None,
    grid: Annotated[
        int, typer.Option(min=2, max=128, help="Images are matched on a grid of about this many patches per side.")
    ] = 48,
    temperature: Annotated[float, typer.Option(help="Of the assignment, at least 0.0001; smaller is harder.")] = 0.02,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="0: places choose freely; 1: all of B is used alike (Sinkhorn).")
    ] = 0.2,
    points: Annotated[int, typer.Option(min=1, help="Draw at most so many matches.")] = 60,
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")] = False,
) -> None:
    """Match two images: mutual nearest points, B's colours on A, and how sure each place is."""
    import torch

    from vitsplice.analysis import correspondence as matches
    from vitsplice.engine.backbones import backbone_or_default
    from vitsplice.engine.device import pick_device
    from vitsplice.images import read
    from vitsplice.matching import correspond as match
    from vitsplice.matching import descriptor_requests

    matches.check(out, force=force)
    place = pick_device(device)
    one, two = (read(path).pixels for path in (first, second))
    network, substitution = backbone_or_default(backbone)
    notes([substitution] if substitution else [])
    network = network.to(place, torch.float32)
    found = match(one.to(place), two.to(place), network, grid=grid, temperature=temperature, balance=balance).cpu()
    folder = matches.save(out, found, one, two, points, network.info, force=force)
    matched = ", ".join(map(network.info.label, descriptor_requests(network.info)))
    typer.echo(f"matched by {network.info.name}: {matched}", err=True)
    typer.echo(f"{int(found.mutual.sum())} of {len(found.best)} places are mutual nearest neighbours", err=True)
    typer.echo(str(folder / matches.POINTS))
