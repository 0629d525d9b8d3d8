"""``report.html``: the report of a video on one page, with a player of its first frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.runs.report import substitutions
from vitsplice.support.files import folder_name
from vitsplice.support.page import Block, Details, Film, Heading, Properties, Table, Text, render
from vitsplice.support.plots import COLOURS, MUTED, plot
from vitsplice.support.tables import csv_document
from vitsplice.text import with_count
from vitsplice.video.excerpt import SAMPLES
from vitsplice.video.work import FLICKER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Errors = Sequence[tuple[int, float, float]]

WARPING = (
    "Mean squared difference between each frame and the next one, after the next one is moved back along the motion of "
    "the input (Lai et al. 2018); only where that motion can be trusted. Lower is steadier. The input has an error "
    "too, from noise, resampling and changing light."
)

DIGESTS = {"weights": "weights", "features": "description of the features"}
"""First word of the name of a digest of a network -> what the digest is of."""


def report(
    record: dict[str, Any],
    source: str,
    appearances: Sequence[str],
    errors: Errors,
    film: tuple[Sequence[bytes], Sequence[bytes]],
) -> str:
    """Render the report of a video as one HTML file.

    Args:
        record: content of ``video.json``.
        source, appearances: names or paths of the video and of the appearance images.
        errors: for each pair of consecutive frames whose motion can be trusted somewhere: number of the first frame,
            warping error of the input, warping error of the output.
        film: first frames of input and output as JPEG.
    """
    names = " and ".join(info["name"] for info in record["backbones"].values())
    method = f"key frames at most {record['key_every']} frames apart" if record["temporal"] else "each frame on its own"
    settings = record["settings"]
    preset = f"preset {settings['preset']}, " if settings["preset"] else ""
    lead = (
        f"{preset}{method}, with {names} on {settings['device']}; {with_count(record['frames'], 'frame')}, "
        f"computed in {record['seconds_per_frame']:.2f} s each"
    )
    caption = f"The first {len(film[0])} frames" if len(film[0]) > 1 else "The first frame"
    blocks: list[Block] = [Film(*film, rate=float(Fraction(record["rate"])), caption=caption)]
    blocks += [*substitutions(record), *(Text(note, highlighted=True) for note in record["notes"])]
    blocks += [Heading("Flicker"), *_flicker(record, errors)]
    blocks += [Heading("Metrics of frames"), _metrics(record)] if record["metrics"] else []
    versions = "\n".join(f"{name} {version}" for name, version in record["versions"].items())
    blocks += [Heading("Settings"), Properties(_properties(record)), Details("versions", versions)]
    appearance_names = " and ".join(Path(name).name for name in appearances)
    title = f"The structure of {folder_name(Path(source))}, the appearance of {appearance_names}"
    return render(title, blocks, lead)


def flicker_table(errors: Errors) -> str:
    """Return the warping errors as CSV."""
    return csv_document([("frame", "input", "output"), *errors])


def _flicker(record: dict[str, Any], errors: Errors) -> list[Block]:
    means = record["warping_error"]
    if not errors:
        missing = "the motion cannot be trusted between any two consecutive frames of one shot"
        return [Text(f"The warping error is missing: {missing}.")]
    rows = [("input", means["input"]), ("output", means["output"])]
    table = Table(("warping error", "mean"), rows, f"{WARPING} All values are in {FLICKER}.")

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        frames = [error[0] for error in errors]
        axes.plot(frames, [error[1] for error in errors], color=MUTED, label="input")
        axes.plot(frames, [error[2] for error in errors], color=COLOURS[0], label="output")
        axes.set_xlabel("frame")
        axes.set_ylabel("warping error")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)

    return [table, plot(draw, (9.6, 3.0), "Warping error from each frame to the next")]


def _metrics(record: dict[str, Any]) -> Block:
    rows = [
        (name, values["value"], values.get("better", ""), values.get("against", ""), values["reason"])
        for name, values in record["metrics"].items()
    ]
    caption = (
        f"Means over at most {SAMPLES} frames, spread over the video; with several appearance images, by their weights"
    )
    return Table(("metric", "mean", "better", "compared with", "note"), rows, caption)


def _properties(record: dict[str, Any]) -> list[tuple[str, str]]:
    cuts = ", ".join(map(str, record["cuts"])) or "none"
    networks = [f"{info['name']} ({info['model']}, {info['licence']})" for info in record["backbones"].values()]
    return [
        ("frame rate", f"{float(Fraction(record['rate'])):.3f} per second"),
        ("first frames after cuts", cuts),
        ("networks", ", ".join(networks)),
        *((_input_label(name, record["backbones"]), value) for name, value in record["inputs"].items() if value),
    ]


def _input_label(name: str, backbones: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the label of an input; ``weights`` and ``features`` without a backbone are those of the first backbone."""
    if name == "appearance weights":
        return "weights of the appearance images"
    kind, _, key = name.partition(" of ")
    if kind not in DIGESTS:
        return f"SHA-256 of {name}"
    return f"SHA-256 of the {DIGESTS[kind]} of {backbones[key or next(iter(backbones))]['name']}"
