"""Record the SHA-256 of what the commands make of the packaged photographs, and compare it after a change.

python tests/helpers/golden.py record golden.json    # before
python tests/helpers/golden.py compare golden.json   # after; exits with 1 if a byte differs

For changes that must not change a pixel. Each command runs small and for a few steps, in a process of its own, with one
thread and in float32, with the networks of `plugins/vitsplice-offline`. Digests hold on one machine and for one set of
versions, so the file is not part of the project.
"""

from __future__ import annotations

import argparse
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
"""Options of `vitsplice run` for each preset of images."""

COMMANDS = {
    "invert": ("invert", "--facet", "cls", "--facet", "key", "--size", "64", "--steps", "3", "--set", "plots=none"),
    "invert-pixels": ("invert", "--prior", "pixels", "--facet", "key", "--size", "64", "--steps", "3"),
    "pca": ("pca", "--size", "112"),
    "compare": ("compare", "-b", VIT, "-b", CNN, "--size", "112", "--transfers", "0", "--style", "none"),
}
"""Other commands, but for their images and folder."""

KEPT = {".png", ".csv"}
"""Files that are compared. Reports and records also name times and versions."""


def vitsplice(folder: Path, *arguments: str) -> None:
    """Run a command of vitsplice in a folder, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "vitsplice", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def make(folder: Path, images: list[str]) -> Iterator[str]:
    """Run every command in a folder; yields the name of each when it is done."""
    cat, dog = images
    for preset, options in RUNS.items():
        vitsplice(folder, "run", cat, dog, "--preset", preset, *options, *FAST, "-o", preset)
        yield preset
    for name, (command, *options) in COMMANDS.items():
        shown = [cat, dog] if command in ("pca", "compare") else [cat]
        vitsplice(folder, command, *shown, *options, "-o", name)
        yield name
    (folder / "pairs.csv").write_text(f"id,structure,appearance\ncat,{cat},{dog}\n")
    methods = [f"{preset}={folder / 'outputs' / preset}" for preset in ("instant", "quick")]
    for preset in ("instant", "quick"):
        (folder / "outputs" / preset).mkdir(parents=True)
        (folder / "outputs" / preset / "cat.png").write_bytes((folder / preset / "output.png").read_bytes())
    optimised = [f"{preset}={VIT}" for preset in ("instant", "quick")]
    named = [option for method in optimised for option in ("--optimised", method)]
    vitsplice(folder, "evaluate", *methods, "--pairs", "pairs.csv", *named, "-o", "evaluate")
    yield "evaluate"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a folder that are compared, by their paths."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in KEPT and "outputs" not in path.parts)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "pairs.csv"
    }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is not the same, a line a file."""
    lines = [f"missing  {name}" for name in before if name not in after]
    lines += [f"new      {name}" for name in after if name not in before]
    return lines + [f"differs  {name}" for name in before if after.get(name, before[name]) != before[name]]


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    from vitsplice.images import example

    images = [str(Path(path).resolve()) for path in example("cat-dog")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in make(folder, images):
            print(f"done: {name}", flush=True)
        made = digests(folder)
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(made, indent=1))
        print(f"{len(made)} files recorded")
        return 0
    found = differences(json.loads(arguments.file.read_text()), made)
    print("\n".join(found) or f"the same {len(made)} files")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
