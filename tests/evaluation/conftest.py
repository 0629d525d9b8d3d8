"""Small sets of pairs with outputs, and fast metrics."""

from dataclasses import replace

import pytest

from tests.conftest import noise
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.datasets import Pair, write
from vitsplice.evaluation.evaluate import evaluate
from vitsplice.evaluation.plan import EvaluationPlan, Method
from vitsplice.images import encode_png
from vitsplice.metrics.features import cls_similarity
from vitsplice.plugins import catalogue
from vitsplice.support.progress import NULL_REPORTER


def structure_difference(context):
    return Metric(lambda case: float((case.output - case.structure).abs().mean()), parameters={"sizes": (1, 2)})


def appearance_similarity(context):
    return Metric(lambda case: -float((case.output - case.appearance).abs().mean()), optimised_by=("texture",))


def partial_metric(context):
    def value(case):
        if case.id == "p1":
            raise RuntimeError("not this\none")
        return float("nan") if case.id == "p2" else 1.0

    return Metric(value)


def set_sum(context):
    return Metric(lambda cases: sum(float(case.output.mean()) for case in cases))


def unbuildable(context):
    raise ZeroDivisionError("by\x1b zero")


METRICS = {
    spec.name: spec
    for spec in (
        MetricSpec("structure-difference", structure_difference, "mean absolute difference"),
        MetricSpec("appearance-similarity", appearance_similarity, "minus it", better="higher", against="appearance"),
        MetricSpec("partial", partial_metric, "of some cases"),
        MetricSpec("network-similarity", cls_similarity, "of a network", better="higher", against="appearance"),
        MetricSpec("set-sum", set_sum, "sum of means", over="set", against="set", max_pairs=3),
        MetricSpec("unbuildable", unbuildable, "cannot be built"),
    )
}


@pytest.fixture
def quick_metrics(monkeypatch):
    """Replace the registered metrics."""
    registered = replace(catalogue(), metrics=replace(catalogue().metrics, specs=METRICS))
    monkeypatch.setattr("vitsplice.evaluation.evaluate.catalogue", lambda: registered)
    return METRICS


def image(path, *shape, seed=0):
    """Write noise of a shape, by default 16 x 20 px, as an image; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(noise(1, 3, *(shape or (16, 20)), seed=seed)))
    return path


@pytest.fixture
def pairs(tmp_path):
    """Manifest of five pairs p0 .. p4."""
    rows = [
        Pair(f"p{n}", *(image(tmp_path / "in" / f"{n}{role}.png", seed=2 * n + k) for k, role in enumerate("sa")))
        for n in range(5)
    ]
    write(tmp_path / "pairs.csv", rows)
    return tmp_path / "pairs.csv"


@pytest.fixture
def method(tmp_path):
    """Function that creates a method with an output for each id."""

    def make(name, seed, ids=("p0", "p1", "p2", "p3", "p4")):
        for number, pair in enumerate(ids):
            image(tmp_path / name / f"{pair}.png", seed=seed + number)
        return Method(name, tmp_path / name)

    return make


@pytest.fixture
def plots_on_page(monkeypatch):
    """Draw the plots on the page of `evaluated`, which otherwise are empty; their PNG files stay empty."""
    monkeypatch.setattr("vitsplice.support.plots.png", lambda *_: b"")


@pytest.fixture
def evaluated(request, quick_metrics, pairs, tmp_path):
    """Function that evaluates methods over the five pairs, on the CPU, into ``out``."""
    if "plots_on_page" not in request.fixturenames:
        request.getfixturevalue("no_plots")

    def run(
        *methods,
        metrics=("structure-difference", "appearance-similarity", "set-sum"),
        force=False,
        progress=NULL_REPORTER,
        **others,
    ):
        plan = EvaluationPlan(pairs, methods, metrics, device="cpu", **others)
        return evaluate(plan, tmp_path / "out", force=force, progress=progress)

    return run
