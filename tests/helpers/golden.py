"""Record digests of the outputs of the commands on the packaged photographs, and compare them after a change.

python tests/helpers/golden.py record golden.json    # before the change
python tests/helpers/golden.py compare golden.json   # after it; the exit code is 1 if an output differs

For changes that must leave every pixel and number the same. The files compared are

- each PNG file, byte by byte, except contact sheets and plots (`IMAGES_WITH_TEXT`), whose captions and labels may be
  reworded; their images and numbers are in the other files;
- each CSV file, by its numbers as they are written; headers and other text may change.

Each command runs with small images and few steps, in a separate process, with one thread and in float32, using the
networks of `plugins/vitsplice-offline`. Digests depend on the machine and on the versions of all packages; therefore
the file of digests is not part of the project.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FAST = ("--set", "metrics=none", "--set", "plots=none", "--set", "precision=float32", "--device", "cpu")
STAGES = ("--set", "stages=[{side: 56}, {side: 84, lr: 0.01}]", "--set", "match.grid=12")
VIT, CNN = "dinov2-vits14-offline", "efficientnet-lite0-offline"

RUNS = {
    "paper": ("--size", "64", "--steps", "4"),
    "official": ("--size", "64", "--steps", "4"),
    "instant": ("--size", "96", "--set", "match.grid=12"),
    "quick": ("--size", "96", "--steps", "6", *STAGES),
    "best": ("--size", "96", "--steps", "6", *STAGES),
}
"""Options of `vitsplice run` by preset."""

COMMANDS = {
    "invert": ("invert", "--facet", "cls", "--facet", "key", "--size", "64", "--steps", "3", "--set", "plots=none"),
    "invert-pixels": ("invert", "--prior", "pixels", "--facet", "key", "--size", "64", "--steps", "3"),
    "pca": ("pca", "--size", "112"),
    "compare": ("compare", "-b", VIT, "-b", CNN, "--size", "112", "--transfers", "0", "--style", "none"),
}
"""Other commands by output folder, without their images and that folder."""

IMAGES_WITH_TEXT = {"pca.png", "inversions.png", "losses.png", "differences.png", "distributions.png", "scatter.png"}


def vitsplice(folder: Path, *arguments: str) -> None:
    """Run a command of vitsplice in a folder, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "vitsplice", *arguments]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{process.stderr}")


def run_commands(folder: Path, cat: str, dog: str) -> Iterator[str]:
    """Run every command in a folder; yield the name of each when it has finished."""
    for preset, options in RUNS.items():
        vitsplice(folder, "run", cat, dog, "--preset", preset, *options, *FAST, "-o", preset)
        yield preset
    for name, (command, *options) in COMMANDS.items():
        images = [cat, dog] if command in ("pca", "compare") else [cat]
        vitsplice(folder, command, *images, *options, "-o", name)
        yield name
    (folder / "inputs").mkdir()
    (folder / "inputs" / "pairs.csv").write_text(f"id,structure,appearance\ncat,{cat},{dog}\n")
    arguments = []
    for preset in ("instant", "quick"):
        method = folder / "inputs" / preset
        method.mkdir()
        (method / "cat.png").write_bytes((folder / preset / "output.png").read_bytes())
        arguments += [f"{preset}={method}", "--optimised", f"{preset}={VIT}"]
    vitsplice(folder, "evaluate", *arguments, "--pairs", "inputs/pairs.csv", "-o", "evaluate")
    yield "evaluate"


def digest(path: Path) -> str:
    """Compute the SHA-256 of an image file, or of the numbers of a CSV file."""
    if path.suffix == ".png":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open(newline="") as file:
        numbers = [list(filter(is_number, row)) for row in csv.reader(file)]
    return hashlib.sha256(json.dumps(list(filter(None, numbers))).encode()).hexdigest()


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def digests(folder: Path) -> dict[str, str]:
    """Compute the digests of the compared files in a folder, by relative path."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".csv")}
    return {
        name.as_posix(): digest(path)
        for name, path in files.items()
        if name.name not in IMAGES_WITH_TEXT and name.parts[0] != "inputs"
    }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """List the missing, new and differing files, one line each."""
    lines = [f"missing  {name}" for name in before if name not in after]
    lines += [f"new      {name}" for name in after if name not in before]
    return lines + [f"differs  {name}" for name in before if after.get(name, before[name]) != before[name]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path, help="JSON file of digests")
    arguments = parser.parse_args()
    from vitsplice.images import example

    with tempfile.TemporaryDirectory() as temporary:
        for name in run_commands(Path(temporary), *(str(Path(path).resolve()) for path in example("cat-dog"))):
            print(f"done: {name}", flush=True)
        outputs = digests(Path(temporary))
    if arguments.action == "record":
        arguments.file.write_text(json.dumps(outputs, indent=1))
        print(f"{len(outputs)} files recorded")
        return 0
    lines = differences(json.loads(arguments.file.read_text()), outputs)
    print("\n".join(lines) or f"{len(outputs)} files are identical")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
