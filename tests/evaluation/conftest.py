"""Small sets of pairs with outputs, and metrics that take no time."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.config import BackboneConfig
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.datasets import Pair, write
from vitsplice.evaluation.evaluate import evaluate
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.plan import Plan
from vitsplice.images import encode_png
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.features import cls_similarity
from vitsplice.plugins import catalogue
from vitsplice.support.progress import NULL_REPORTER


def off_structure(context):
    return Metric(lambda case: float((case.output - case.structure).abs().mean()), parameters={"sizes": (1, 2)})


def like_appearance(context):
    return Metric(lambda case: -float((case.output - case.appearance).abs().mean()), optimised_by=("texture",))


def choosy(context):
    def value(case):
        if case.id == "p1":
            raise RuntimeError("not this\none")
        return float("nan") if case.id == "p2" else 1.0

    return Metric(value)


def of_set(context):
    return Metric(lambda cases: sum(float(case.output.mean()) for case in cases))


def never(context):
    raise ZeroDivisionError("by\x1b zero")


METRICS = {
    spec.name: spec
    for spec in (
        MetricSpec("off-structure", off_structure, "mean absolute difference"),
        MetricSpec("like-appearance", like_appearance, "less it", better="higher", against="appearance"),
        MetricSpec("choosy", choosy, "of some"),
        MetricSpec("of-network", cls_similarity, "by a network", better="higher", against="appearance"),
        MetricSpec("of-set", of_set, "sum of means", over="set", against="set", max_pairs=3),
        MetricSpec("never", never, "cannot be built"),
    )
}


@pytest.fixture
def quick_metrics(monkeypatch):
    """`vitsplice evaluate` knows these metrics and no others."""
    known = catalogue()
    monkeypatch.setattr("vitsplice.evaluation.evaluate.catalogue", lambda: replace(known, metrics=METRICS))
    return METRICS


def image(path, *shape, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(noise(1, 3, *(shape or (16, 20)), seed=seed)))
    return path


@pytest.fixture
def pairs(tmp_path):
    """A manifest of five pairs p0 .. p4."""
    made = [
        Pair(f"p{n}", *(image(tmp_path / "in" / f"{n}{role}.png", seed=2 * n + k) for k, role in enumerate("sa")))
        for n in range(5)
    ]
    write(tmp_path / "pairs.csv", made)
    return tmp_path / "pairs.csv"


@pytest.fixture
def method(tmp_path):
    """Make a method with an output for each id."""

    def make(name, seed, ids=("p0", "p1", "p2", "p3", "p4")):
        for number, pair in enumerate(ids):
            image(tmp_path / name / f"{pair}.png", seed=seed + number)
        return Method(name, tmp_path / name)

    return make


@pytest.fixture
def evaluated(quick_metrics, pairs, tmp_path):
    """Evaluate methods over the five pairs, without a network, into ``out``."""

    def run(
        *methods, metrics=("off-structure", "like-appearance", "of-set"), force=False, progress=NULL_REPORTER, **others
    ):
        plan = Plan(pairs, methods, metrics, device="cpu", **others)
        return evaluate(plan, tmp_path / "out", force=force, progress=progress)

    return run


@pytest.fixture(scope="session")
def real_networks():
    """Networks with trained weights, each loaded once."""
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    return MetricBackbones(catalogue(), torch.device("cpu"), BackboneConfig(name="none"))
