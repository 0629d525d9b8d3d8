"""Small studies, and results in the format of the page."""

import json
import random

import pytest
from PIL import Image

from vitsplice.datasets import Pair, write
from vitsplice.evaluation.plan import Method
from vitsplice.study.plan import SCHEMA, PlannedCheck, PlannedPair, StudyPlan
from vitsplice.study.trial_order import trials_of


@pytest.fixture(scope="session")
def make_images(tmp_path_factory):
    """Write a manifest and folders of outputs, each image with its own colours; return the manifest and the methods."""

    def write_images(pairs, methods, sets=1):
        folder = tmp_path_factory.mktemp("study")
        rng = random.Random(0)

        def write_image(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (4, 3))
            image.putdata([tuple(rng.randrange(256) for _ in range(3)) for _ in range(12)])
            image.resize((64, 48), Image.Resampling.NEAREST).save(path)
            return path

        manifest = []
        for number in range(pairs):
            inputs = [write_image(folder / f"in/{number}-{role}.png") for role in ("structure", "appearance")]
            manifest.append(Pair(f"pair-{number}", *inputs, source=f"set {number % sets}" if sets > 1 else ""))
        for name in methods:
            for pair in manifest:
                write_image(folder / f"methods/{name}/{pair.id}.png")
        write(folder / "pairs.csv", manifest)
        return folder / "pairs.csv", [Method(name, folder / "methods" / name) for name in methods]

    return write_images


def make_plan(pairs=3, methods=("a", "b"), *, sets=1, trials=None, checks=0, question="Which?"):
    """Plan without images, by default of all comparisons."""
    planned = [
        PlannedPair(
            id=f"pair-{n}", set=f"set {n % sets}" if sets > 1 else "", structure="", appearance="", outputs=methods
        )
        for n in range(pairs)
    ]
    planned_checks = [
        PlannedCheck(pair=f"pair-{n % pairs}", method=methods[n % len(methods)], wrong="") for n in range(checks)
    ]
    return StudyPlan.create(
        title="T", question=question, seed=0, trials=trials or pairs * len(methods) * (len(methods) - 1) // 2,
        min_view_ms=0, methods=methods, pairs=tuple(planned), checks=tuple(planned_checks),
    )  # fmt: skip


def make_result(plan, rater, choose=lambda trial: "left", *, failed=0, trials=None, milliseconds=2000, **changes):
    """Result of all trials or the first ``trials``, by a rater who fails the first ``failed`` checks.

    ``began`` contains the rater: results of several raters with equal answers and the same start count as copies.
    """
    recorded = []
    for trial in trials_of(plan, rater)[:trials]:
        check = trial.answer is not None
        wrong = check and failed > sum(previous["passed"] is False for previous in recorded)
        choice = {"left": "right", "right": "left"}[trial.answer] if wrong else trial.answer or choose(trial)
        recorded.append(
            {"pair": trial.pair, "set": trial.set, "left": trial.left, "right": trial.right, "choice": choice,
             "milliseconds": milliseconds, "check": check, "passed": not wrong if check else None}
        )  # fmt: skip
    return {
        "kind": "vitsplice study result", "schema": SCHEMA, "study": plan.study, "plan": plan.digest, "rater": rater,
        "began": f"2026-01-01T00:00:00Z {rater}"[:40], "finished": "2026-01-01T00:10:00Z" if trials is None else None,
        "trials": recorded, "user_agent": "test", "screen": {"width": 800, "height": 600, "ratio": 1},
    } | changes  # fmt: skip


def prefer(*order):
    """Return the choice function of a rater who always prefers the method that comes first in ``order``."""
    return lambda trial: "left" if order.index(trial.left) < order.index(trial.right) else "right"


@pytest.fixture
def write_results(tmp_path):
    """Write results into a folder and return the folder."""

    def write_all(*results):
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        for number, result in enumerate(results):
            (folder / f"{number:04}.json").write_text(json.dumps(result))
        return folder

    return write_all
