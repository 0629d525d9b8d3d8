"""Small studies, and raters who answer them without one."""

import json
import random

import pytest
from PIL import Image

from vitsplice.datasets import Pair, write
from vitsplice.evaluation.outputs import Method
from vitsplice.study.order import trials_of
from vitsplice.study.plan import SCHEMA, Plan, identified


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Make a manifest and folders of outputs, each image of its own colours: (manifest, methods)."""

    def draw(pairs, methods, sets=1):
        folder = tmp_path_factory.mktemp("study")
        chance = random.Random(0)

        def draw_image(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            colours = [tuple(chance.randrange(256) for _ in range(3)) for _ in range(12)]
            image = Image.new("RGB", (4, 3))
            image.putdata(colours)
            image.resize((64, 48), Image.Resampling.NEAREST).save(path)
            return path

        made = []
        for number in range(pairs):
            inputs = [draw_image(folder / f"in/{number}-{role}.png") for role in ("structure", "appearance")]
            made.append(Pair(f"pair-{number}", *inputs, source=f"set {number % sets}" if sets > 1 else ""))
        for name in methods:
            for pair in made:
                draw_image(folder / f"methods/{name}/{pair.id}.png")
        write(folder / "pairs.csv", made)
        return folder / "pairs.csv", [Method(name, folder / "methods" / name) for name in methods]

    return draw


def plan_of(pairs=3, methods=("a", "b"), *, sets=1, trials=None, checks=0, **changes):
    """A plan without images, of all comparisons or so many."""
    entries = [
        {"id": f"pair-{n}", "set": f"set {n % sets}" if sets > 1 else "", "structure": "", "appearance": "",
         "outputs": list(methods)}
        for n in range(pairs)
    ]  # fmt: skip
    known = [{"pair": f"pair-{n % pairs}", "method": methods[n % len(methods)], "wrong": ""} for n in range(checks)]
    asked = {
        "schema": SCHEMA, "title": "T", "question": "Which?", "seed": 0, "min_view_ms": 0, "methods": list(methods),
        "trials": trials or pairs * len(methods) * (len(methods) - 1) // 2, "pairs": entries, "checks": known,
    }  # fmt: skip
    return Plan.model_validate(identified(asked | changes))


def result_of(plan, rater, choose=lambda asked: "left", *, failed=0, trials=None, milliseconds=2000, **changes):
    """A result as the page gives it, of all trials or the first few, by a rater who fails so many checks."""
    given = []
    for asked in trials_of(plan, rater)[:trials]:
        check = asked.answer is not None
        wrong = check and failed > sum(trial["passed"] is False for trial in given)
        choice = {"left": "right", "right": "left"}[asked.answer] if wrong else asked.answer or choose(asked)
        given.append(
            {"pair": asked.pair, "set": asked.set, "left": asked.left, "right": asked.right, "choice": choice,
             "milliseconds": milliseconds, "check": check, "passed": not wrong if check else None}
        )  # fmt: skip
    return {
        "kind": "vitsplice study result", "schema": SCHEMA, "study": plan.study, "plan": plan.digest, "rater": rater,
        "began": f"2026-01-01T00:00:00Z {rater}"[:40], "finished": None if trials else "2026-01-01T00:10:00Z",
        "trials": given, "user_agent": "test", "screen": {"width": 800, "height": 600, "ratio": 1},
    } | changes  # fmt: skip


def prefers(*order):
    """Choose the method that comes first in an order."""
    return lambda asked: "left" if order.index(asked.left) < order.index(asked.right) else "right"


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
