"""``vitsplice lut``: fit a 3D lookup table of colours (LUT) to two images, or apply one to images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import IMAGE_HELP
from vitsplice.cli.output import print_notes

lut = typer.Typer(no_args_is_help=True)

Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


@lut.command()
def fit(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="BEFORE",
            help=f"Image before the change of colours: the structure image of a run, for example. {IMAGE_HELP}",
        ),
    ],
    after: Annotated[
        Path,
        typer.Argument(
            metavar="AFTER",
            help="Image after the change, of the same size: output.png of a run without --size, for example.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="LUT file to write, such as colours.cube.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Mask of the same size: only pixels where the mean of its red, green and blue is at least 50 % are "
            "used. If its alpha channel varies, that channel is the mask."
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=2, max=256, help="Number of lattice points of the LUT along each axis.")
    ] = 33,
    smoothness: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=100_000,
            help="Smoothness of the LUT. With a smaller value, it follows AFTER more closely, but areas of similar "
            "colours may get speckles.",
        ),
    ] = 400.0,
    force: Force = False,
) -> None:
    """Fit a 3D LUT that maps the colour of each pixel of BEFORE to that of the same pixel of AFTER."""
    from vitsplice.images import read, read_mask
    from vitsplice.luts import check_cube, fit_lut, write_cube

    cube = check_cube(out, force=force)
    images = {path: read(path) for path in (before, after)}
    loaded_mask = read_mask(mask) if mask else None
    print_notes(f"{path}: {note}" for path, image in images.items() for note in image.notes)
    print_notes(f"{mask}: {note}" for note in (loaded_mask.notes if loaded_mask else ()))
    source, target = (images[path].pixels[0] for path in (before, after))
    region = loaded_mask.pixels[0].mean(0, keepdim=True) if loaded_mask else None
    fitted = fit_lut(source, target, region, size=size, smoothness=smoothness)
    inside = " inside the mask" if mask else ""
    print_notes([f"{before} with the LUT, compared with {after}{inside}: {fitted}"])
    typer.echo(write_cube(fitted.lut, cube, title=after.stem, force=force))


@lut.command()
def apply(
    cube: Annotated[Path, typer.Argument(metavar="LUT.cube", help="3D LUT as a .cube file.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help=f"Images, or folders of them. {IMAGE_HELP}")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Output folder. For a single output also the name of a .png file.")
    ] = Path("vitsplice-graded"),
    force: Force = False,
) -> None:
    """Apply a 3D LUT to images. Outputs are 8-bit PNG files."""
    from vitsplice.batch.lut_images import apply_lut
    from vitsplice.batch.transfer_plan import outputs_of_images, plan_in
    from vitsplice.cli.apply import report_applied
    from vitsplice.cli.progress import parts_progress
    from vitsplice.luts import read_cube

    table = read_cube(cube)
    plan = plan_in(out, outputs_of_images(images), images)
    plan.check(force=force, finished=())  # without a record of finished outputs, every existing file needs --force
    with parts_progress() as progress:
        applied = apply_lut(table, plan, progress)
    report_applied(applied, len(plan.transfers), "the same command with --force starts again")
    typer.echo(out)
