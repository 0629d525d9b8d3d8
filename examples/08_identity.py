"""Compare the identity term on the appearance image, on the structure image, and with a weight too small to matter.

The identity term of the paper requires that the generator preserves the appearance image (equation 5). Writes a contact
sheet and prints a table in Markdown. Runs are stored in the folder; the same command resumes them.

python examples/08_identity.py FOLDER SHEET.png [PAIR_FOLDER ...] [--steps N] [--size N]

Each pair is a folder with structure.jpg and appearance.jpg; the default is the packaged pairs.
"""

import argparse
import sys
from pathlib import Path

from vitsplice.errors import AlreadyFinished
from vitsplice.images import EXAMPLE_PAIRS, contact_sheet, encode_png, example, read
from vitsplice.presets import loading
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import SETTINGS, RunFolder
from vitsplice.runs.recorder import Recording

TERMS = ("identity", "identity-entire")
VARIANTS = {
    "on the appearance image": (),
    "on the structure image": ("input=structure", "target=structure"),
    "no identity": ("weight=1e-9",),  # too small to have an effect, but still measured
}


def pairs_of(folders):
    if not folders:
        return {name: example(name) for name in EXAMPLE_PAIRS}
    return {folder.resolve().name: (folder / "structure.jpg", folder / "appearance.jpg") for folder in folders}


def check_same(folder, settings):
    """Exit if the folder holds a run of another number of steps or another size."""
    path = folder / SETTINGS
    if not path.exists():
        return
    earlier = loading.load(path.read_text(), str(path))
    for name in ("steps", "size"):
        before, now = getattr(earlier, name), getattr(settings, name)
        if before != now:
            sys.exit(f"{folder} holds a run with {name} {before}, not {now}; choose another folder, or remove it")


def finished_run(pair, changes, folder, arguments):
    """Start or resume the run in a folder, unless it has finished; return the folder."""
    overrides = [f"terms.{term}.{change}" for term in TERMS for change in changes] + ["precision=auto"]
    settings = settings_for("paper", steps=arguments.steps, size=arguments.size, overrides=overrides)
    check_same(folder, settings)
    try:
        with Recording.begin_or_resume(
            dict(zip(("structure", "appearance"), pair, strict=True)), settings, folder
        ) as run:
            for _ in run.steps(print):
                pass
            run.save()
    except AlreadyFinished:
        pass
    return RunFolder(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the runs")
    parser.add_argument("sheet", type=Path, help="PNG file to write")
    parser.add_argument("pairs", type=Path, nargs="*", help="folders of pairs")
    parser.add_argument("--steps", type=int, default=400, help="number of steps")
    parser.add_argument("--size", type=int, default=224, help="shorter side of the images in pixels")
    arguments = parser.parse_args()
    rows, lines, pairs = [], [], pairs_of(arguments.pairs)
    if len(pairs) < len(arguments.pairs):
        parser.error("the folders of pairs must have different names, which name the folders of the runs; rename one")
    for name, pair in pairs.items():
        row = [(role, read(path).pixels[0]) for role, path in zip(("structure", "appearance"), pair, strict=True)]
        for number, (variant, changes) in enumerate(VARIANTS.items()):
            run = finished_run(pair, changes, arguments.folder / f"{name}-{number}", arguments)
            record = run.record()
            metrics = {metric["name"]: metric["value"] for metric in record["metrics"]}
            losses = record["last"]["losses"]
            metrics |= {f"{term} loss": value for term, value in losses.items() if not term.endswith("-entire")}
            row.append((variant, read(run.output).pixels[0]))
            lines.append((f"{name}: {variant}", metrics))
        rows.append(row)
    columns = list(lines[0][1])
    print(f"| {arguments.steps} steps | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for label, metrics in lines:
        cells = ["-" if (value := metrics[column]) is None else f"{value:.4g}" for column in columns]
        print(f"| {label} | {' | '.join(cells)} |")
    arguments.sheet.write_bytes(encode_png(contact_sheet(rows)))
    print(arguments.sheet)


if __name__ == "__main__":
    main()
