"""Small studies, and raters who answer them without one."""

import json
import random

import pytest
from PIL import Image

from vitsplice.evaluation.outputs import Method
from vitsplice.pairs import Pair, write


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Make a manifest and folders of outputs, each picture of its own colours: (manifest, methods)."""

    def draw(pairs, methods, sets=1):
        folder = tmp_path_factory.mktemp("study")
        chance = random.Random(0)

        def picture(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            colours = [tuple(chance.randrange(256) for _ in range(3)) for _ in range(12)]
            image = Image.new("RGB", (4, 3))
            image.putdata(colours)
            image.resize((64, 48), Image.Resampling.NEAREST).save(path)
            return path

        made = []
        for number in range(pairs):
            inputs = [picture(folder / f"in/{number}-{role}.png") for role in ("structure", "appearance")]
            made.append(Pair(f"pair-{number}", *inputs, source=f"set {number % sets}" if sets > 1 else ""))
        for name in methods:
            for pair in made:
                picture(folder / f"methods/{name}/{pair.id}.png")
        write(folder / "pairs.csv", made)
        return folder / "pairs.csv", [Method(name, folder / "methods" / name) for name in methods]

    return draw


@pytest.fixture
def result():
    """A result as the page gives it, of comparisons [(pair, left, right, choice)] and checks [passed]."""

    def make(rater, comparisons, checks=(), *, methods=("a", "b"), milliseconds=2000, **changes):
        trials = [
            {"pair": pair, "set": "", "left": left, "right": right, "choice": choice, "milliseconds": milliseconds,
             "check": False, "passed": None}
            for pair, left, right, choice in comparisons
        ]  # fmt: skip
        trials += [
            {"pair": f"check-{number}", "set": "", "left": methods[0], "right": None,
             "choice": "left" if passed else "right", "milliseconds": milliseconds, "check": True, "passed": passed}
            for number, passed in enumerate(checks)
        ]  # fmt: skip
        return {
            "kind": "vitsplice study result", "schema": 1, "study": "0123", "title": "T", "question": "Which?",
            "methods": list(methods), "rater": rater, "began": "2026-01-01T00:00:00Z", "trials": trials,
            "finished": "2026-01-01T00:10:00Z", "planned": len(trials), "user_agent": "test",
            "screen": {"width": 800, "height": 600, "ratio": 1},
        } | changes  # fmt: skip

    return make


@pytest.fixture
def handed_over(tmp_path):
    """Write results into a folder, and give it."""

    def write_all(*results, folder="results"):
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for number, found in enumerate(results):
            (path / f"{number:04}.json").write_text(json.dumps(found))
        return path

    return write_all
