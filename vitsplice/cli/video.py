"""``vitsplice video``: transfer the appearance of one or several images to a video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import (
    DEVICE,
    AppearanceMasks,
    Appearances,
    Precision,
    Seed,
    WeightedAppearances,
    backbone_option,
    masks_of,
    with_weights,
)
from vitsplice.cli.output import print_notes


def video(
    source: Annotated[
        Path, typer.Argument(metavar="VIDEO", help="Video that gives the structure, or a folder of images.")
    ],
    appearance: Appearances = None,
    weighted: WeightedAppearances = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Output: .mp4, .m4v, .mov, .mkv or .webm, or a folder for PNG files (a name without suffix).",
        ),
    ] = Path("vitsplice-out.mp4"),
    preset: Annotated[
        str, typer.Option(help="instant, quick, best, a YAML file with a warm start, or a model folder.")
    ] = "instant",
    backbone: Annotated[
        str | None, backbone_option("It replaces the first backbone of the preset and the fallbacks of that backbone.")
    ] = None,
    key_every: Annotated[
        int, typer.Option(min=1, max=120, help="Maximum number of frames from one key frame to the next.")
    ] = 12,
    no_temporal: Annotated[
        bool,
        typer.Option(
            "--no-temporal",
            help="Compute each frame alone, instead of propagating matches and changes of key frames along the optical "
            "flow.",
        ),
    ] = False,
    appearance_mask: AppearanceMasks = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10_000_000,
            help="Number of steps of each key frame, in place of the preset's. With --no-temporal: of every frame.",
        ),
    ] = None,
    structure_strength: Annotated[float | None, typer.Option(min=0, max=10, help="As for `vitsplice run`.")] = None,
    appearance_strength: Annotated[float | None, typer.Option(min=0, max=10, help="As for `vitsplice run`.")] = None,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=16384, help="Resize frames and appearance images to this shorter side, in pixels."),
    ] = None,
    seed: Seed = None,
    device: Annotated[str | None, DEVICE] = None,
    precision: Precision = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. match.grid=60; can be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> None:
    """Transfer the appearance of one or several images to a video, stable in time.

    Needs PyAV and OpenCV, which the extra `video` installs. Report, records and a preview are in the folder NAME-video
    beside the output NAME.mp4 or NAME. The same command resumes where it was stopped.
    """
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.video.convert import splice_video
    from vitsplice.video.work import REPORT

    appearances, weights = with_weights(appearance, weighted)
    with parts_progress() as progress:
        result = splice_video(
            source,
            appearances,
            out,
            preset,
            temporal=not no_temporal,
            key_every=key_every,
            appearance_mask=masks_of(appearance_mask),
            appearance_weights=weights,
            force=force,
            progress=progress,
            backbone=backbone,
            steps=steps,
            structure_strength=structure_strength,
            appearance_strength=appearance_strength,
            size=size,
            seed=seed,
            device=device,
            precision=precision,
            overrides=set_ or [],
        )
    result = unless_stopped(result)
    record = result.record
    print_notes(record["notes"])
    typer.echo(f"{record['frames']} frames, {record['seconds_per_frame']} s each", err=True)
    errors = record["warping_error"]
    if errors["output"] is not None:
        typer.echo(f"warping error {errors['output']:.5f} (input {errors['input']:.5f})", err=True)
    if os.path.isfile(result.folder / REPORT):
        typer.echo(f"report {result.folder / REPORT}", err=True)
    typer.echo(result.path)
