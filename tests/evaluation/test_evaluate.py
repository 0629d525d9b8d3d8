import csv
import itertools
import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from plot_points import list_points

from tests.evaluation.conftest import image
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.datasets import Pair, write
from vitsplice.datasets import read as read_pairs
from vitsplice.errors import ConfigError, OutputExists, UnknownName, UserError, VitspliceError
from vitsplice.evaluation.evaluate import choose_pairs, evaluate
from vitsplice.evaluation.plan import EvaluationPlan, Method
from vitsplice.images import read
from vitsplice.presets.settings import settings_for
from vitsplice.support.progress import ProgressReporter

FILES = ("values.csv", "summary.json", "summary.md", "gallery.html", "distributions.png")


def rows(tmp_path):
    with (tmp_path / "out" / "values.csv").open() as file:
        return list(csv.DictReader(file))


def files(tmp_path):
    return {name: (tmp_path / "out" / name).read_bytes() for name in FILES}


def pixels(path):
    return read(path).pixels


def test_values_are_in_the_order_of_the_pairs(evaluated, method, tmp_path):
    summary = evaluated(method("one", 10), method("two", 20))
    table = rows(tmp_path)
    assert [(row["method"], row["id"]) for row in table] == [(m, f"p{n}") for n in range(5) for m in ("one", "two")]
    values = {}
    for row in table:
        number = row["id"][1:]
        output, structure = (
            pixels(tmp_path / row["method"] / f"p{number}.png"),
            pixels(tmp_path / "in" / f"{number}s.png"),
        )
        assert float(row["structure-difference"]) == pytest.approx(float((output - structure).abs().mean()), rel=1e-5)
        values.setdefault(row["method"], []).append(float(row["structure-difference"]))
    scores = summary.metrics["structure-difference"].methods
    assert scores["two"].interval.mean == pytest.approx(np.mean(values["two"]))
    (comparison,) = summary.metrics["structure-difference"].comparisons
    assert comparison.test.mean == pytest.approx(np.mean(values["one"]) - np.mean(values["two"]))
    plain = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert plain == json.loads(json.dumps(summary.to_json()))
    assert plain["measured"] == {"pairs": 5, "structure_images": 5, "appearance_images": 5, "shared": False}
    assert plain["metrics"]["structure-difference"]["parameters"] == {"sizes": [1, 2]}


@pytest.mark.slow
def test_value_of_a_pair_with_several_appearance_images_is_the_mean_by_weight(evaluated, method, pairs, tmp_path):
    others = image(tmp_path / "in" / "0b.png", seed=7)
    pair = Pair("p0", tmp_path / "in" / "0s.png", tmp_path / "in" / "0a.png", others=((others, None),))
    differences = {}
    for weights in ((), (1.0, 3.0)):
        write(pairs, [replace(pair, weights=weights)])
        evaluated(method("one", 10, ("p0",)), force=True)
        (row,) = rows(tmp_path)
        output = pixels(tmp_path / "one" / "p0.png")
        each = [-float((output - pixels(tmp_path / "in" / f"0{k}.png")).abs().mean()) for k in "ab"]
        expected = np.average(each, weights=weights or None)
        assert float(row["appearance-similarity"]) == pytest.approx(expected, rel=1e-5)
        differences[weights] = row["structure-difference"]
    assert differences[()] == differences[1.0, 3.0]
    assert "appearance image 2" in (tmp_path / "out" / "gallery.html").read_text()


def test_set_has_measured_pairs_up_to_its_limit_whatever_their_order(evaluated, method, pairs, tmp_path):
    summary = evaluated(method("one", 10, ("p0", "p2", "p3", "p4")))
    keys = np.array([1, 0, 3, 4, 5], np.uint64)  # p1 is not measured
    chosen = [pair.id for pair, _ in choose_pairs(pairs, keys, 3)]
    assert len(set(chosen) - {"p1"}) == 3
    score = summary.metrics["set-sum"].methods["one"]
    assert score.interval.mean == pytest.approx(
        sum(float(pixels(tmp_path / "one" / f"{i}.png").mean()) for i in chosen), rel=1e-5
    )
    assert score.interval.n == 3
    write(tmp_path / "reversed.csv", list(read_pairs(pairs))[::-1])
    assert [pair.id for pair, _ in choose_pairs(tmp_path / "reversed.csv", keys[::-1], 3)] == chosen


@pytest.mark.slow
def test_resume_from_a_truncated_log_gives_identical_files(evaluated, method, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.support.plots._save", list_points)
    methods, metrics = (method("one", 10), method("two", 20)), ("structure-difference", "set-sum")
    evaluated(*methods, metrics=metrics)
    expected = files(tmp_path)
    log = tmp_path / "out" / "values.jsonl"
    text = log.read_bytes()
    for share in (0, 0.5, 1):
        truncated = text[: int(share * (len(text) - 1))]
        complete_lines = truncated[: truncated.rfind(b"\n") + 1]
        for name in FILES:
            (tmp_path / "out" / name).unlink()
        log.write_bytes(truncated)
        evaluated(*methods, metrics=metrics)
        assert files(tmp_path) == expected
        assert log.read_bytes().startswith(complete_lines)


def stopped_at(number):
    """Return a progress reporter that stops the work at the query ``number``, counted from 0."""
    queries = itertools.count()
    return ProgressReporter(stopped=lambda: next(queries) >= number)


@pytest.mark.slow
def test_resume_after_stop_gives_identical_files(evaluated, method, tmp_path):
    methods = method("one", 10), method("two", 20)
    evaluated(*methods)
    expected = files(tmp_path)
    evaluated(*methods)
    assert files(tmp_path) == expected
    for moment in (0, 9, 15):  # while it measures pairs, measures sets, writes the gallery
        for path in (tmp_path / "out").iterdir():
            path.unlink()
        assert evaluated(*methods, progress=stopped_at(moment)) is None
        assert evaluated(*methods) is not None
        assert files(tmp_path) == expected


@pytest.mark.slow
def test_only_changed_outputs_are_measured_again(evaluated, method, quick_metrics, tmp_path, monkeypatch):
    first = method("one", 10)
    evaluated(first)
    measured = []
    spec = quick_metrics["structure-difference"]

    def build(context):
        inner = spec.build(context)
        return replace(inner, value=lambda case: measured.append(case.id) or inner.value(case))

    monkeypatch.setitem(quick_metrics, "structure-difference", replace(spec, build=build))
    evaluated(first)
    assert measured == []
    image(tmp_path / "one" / "p3.png", seed=99)
    os.utime(tmp_path / "one" / "p3.png", ns=(0, time.time_ns()))
    evaluated(first)
    assert measured == ["p3"]
    assert float(rows(tmp_path)[3]["structure-difference"]) == pytest.approx(
        float((pixels(tmp_path / "one" / "p3.png") - pixels(tmp_path / "in" / "3s.png")).abs().mean()), rel=1e-5
    )
    assert len(rows(tmp_path)) == 5


@pytest.mark.slow
def test_leakage_does_not_depend_on_when_an_output_was_first_measured(evaluated, pairs, tmp_path):
    write(pairs, [next(iter(read_pairs(pairs)))])
    image(tmp_path / "one" / "p0" / "output.png")
    record = tmp_path / "one" / "p0" / "run.json"
    (tmp_path / "one" / "p0" / "run.yaml").write_text(settings_for("quick").to_yaml())

    def optimised():
        return evaluated(Method("one", tmp_path / "one"), metrics=("structure-difference",)).optimised["one"]

    assert optimised() is None
    for name in ("tiny-vit", "tiny-cnn"):
        record.write_text(json.dumps({"finished": True, "backbones": {"main": {"name": name, "sha256": ""}}}))
        assert [network.name for network in optimised().networks] == [name]
    log = (tmp_path / "out" / "values.jsonl").read_bytes()
    optimised()
    assert (tmp_path / "out" / "values.jsonl").read_bytes() == log
    record.unlink()
    assert optimised() is None


def test_missing_and_corrupt_outputs_are_reported_and_the_others_measured(evaluated, method, tmp_path):
    first = method("one", 10, ("p0", "p1", "p3"))
    (tmp_path / "one" / "p1.png").write_bytes(b"no image")
    (tmp_path / "in" / "3a.png").unlink()
    counts = evaluated(first).counts["one"]
    assert (counts.measured, counts.missing, counts.unusable) == (1, 3, 1)
    assert [row["id"] for row in rows(tmp_path)] == ["p0"]
    assert {why.split(":")[0] for why in counts.examples} == {"p1", "p2", "p3", "p4"}
    assert "no output" in "".join(counts.examples)
    markdown = (tmp_path / "out" / "summary.md").read_text()
    assert "1 of 5 pairs measured, 3 missing, 1 unusable" in markdown


def test_failing_metric_loses_only_its_own_values(evaluated, method, tmp_path):
    summary = evaluated(method("one", 10), metrics=("structure-difference", "partial", "unbuildable"))
    assert list(summary.unavailable) == ["unbuildable"]
    assert summary.unavailable["unbuildable"].endswith(": ZeroDivisionError: by zero")
    score = summary.metrics["partial"].methods["one"]
    assert (score.interval.n, score.missing) == (3, 2)
    assert score.reason == "RuntimeError: not this one"
    assert [row["partial"] for row in rows(tmp_path)] == ["1.0", "", "", "1.0", "1.0"]
    assert all(row["structure-difference"] for row in rows(tmp_path))
    report = (tmp_path / "out" / "summary.md").read_text()
    assert "partial: no value for 2 outputs of one (RuntimeError: not this one)" in report


@pytest.mark.slow
def test_only_failed_values_are_computed_again(evaluated, method, quick_metrics, tmp_path, monkeypatch):
    memory_is_full, measured = True, {"scarce": [], "scarce-set": [], "plenty": []}

    def scarce(case):
        measured["scarce"].append(case.id)
        if memory_is_full and case.id in ("p1", "p3"):
            raise RuntimeError("out of memory")
        return float("nan") if case.id == "p2" else 1.0

    def scarce_set(cases):
        measured["scarce-set"].append([case.id for case in cases])
        if memory_is_full:
            raise RuntimeError("out of memory")
        return 1.0

    values = {
        "scarce": scarce,
        "scarce-set": scarce_set,
        "plenty": lambda case: measured["plenty"].append(case.id) or 2.0,
    }
    for name, value in values.items():
        spec = MetricSpec(name, lambda _, value=value: Metric(value), "it", over="set" if "set" in name else "pair")
        monkeypatch.setitem(quick_metrics, name, spec)

    first, log = method("one", 10, ("p0", "p1", "p2", "p3")), tmp_path / "out" / "values.jsonl"
    evaluated(first, metrics=tuple(values))
    logged = log.read_bytes()
    evaluated(first, metrics=tuple(values))
    assert log.read_bytes() == logged  # the same failure adds no line
    assert measured["scarce"] == ["p0", "p1", "p2", "p3", "p1", "p3"]
    memory_is_full = False
    for _ in range(2):
        summary = evaluated(first, metrics=tuple(values))
        assert measured["scarce"] == ["p0", "p1", "p2", "p3", *["p1", "p3"] * 2]
        assert measured["plenty"] == ["p0", "p1", "p2", "p3"]
        assert len(measured["scarce-set"]) == 3
        scores = [summary.metrics[name].methods["one"] for name in values]
        assert [(score.interval.mean, score.missing, score.reason) for score in scores] == [
            (1, 1, ""),
            (1, 0, ""),
            (2, 0, ""),
        ]


@pytest.mark.slow
def test_leakage_is_marked_and_excluded_from_mean_ranks(evaluated, method, tmp_path):
    ids = "p0", "p1"
    summary = evaluated(
        method("one", 10, ids), method("two", 20, ids), method("three", 30, ids),
        metrics=("network-similarity", "structure-difference"), backbone="tiny-vit",
        optimised={"one": ("tiny-vit",), "two": ()},
    )  # fmt: skip
    assert {name: score.leakage for name, score in summary.metrics["network-similarity"].methods.items()} == {
        "one": "network", "two": "none", "three": "unknown",
    }  # fmt: skip
    markdown = (tmp_path / "out" / "summary.md").read_text()
    assert "one used tiny-vit, the network of network-similarity; this metric is biased in its favour" in markdown
    assert "it is unknown what these methods optimised: three;" in markdown
    ranks = {name: s.rank for name, s in summary.metrics["structure-difference"].methods.items()}
    assert summary.mean_ranks == ranks  # without network-similarity, which is biased


@pytest.mark.parametrize(("images", "name"), [("s", "structure-difference"), ("a", "appearance-similarity")])
def test_best_follows_the_direction_of_the_metric(evaluated, method, tmp_path, images, name):
    (tmp_path / "same").mkdir()
    for number in range(5):
        shutil.copy(tmp_path / "in" / f"{number}{images}.png", tmp_path / "same" / f"p{number}.png")
    metric = evaluated(Method("same", tmp_path / "same"), method("one", 10)).metrics[name]
    assert metric.best == ("same",)
    assert [metric.methods[method].rank for method in ("same", "one")] == [1, 2]
    assert metric.methods["same"].interval.mean == 0


def test_method_with_only_the_easiest_pair_is_not_best(evaluated, pairs, tmp_path):
    light, dark = (Image.new("RGB", (20, 16), (level,) * 3) for level in (255, 0))
    for number in range(5):  # p0 is the easiest pair
        structure = Image.open(tmp_path / "in" / f"{number}s.png")
        for name, share in (("all", 0.0 if number == 0 else 0.9), ("few", 0.1)):
            if name == "all" or number == 0:
                (tmp_path / name).mkdir(exist_ok=True)
                Image.blend(structure, dark if number % 2 else light, share).save(tmp_path / name / f"p{number}.png")
    summary = evaluated(*(Method(name, tmp_path / name) for name in ("few", "all")))
    metric = summary.metrics["structure-difference"]
    assert metric.methods["few"].interval.mean < metric.methods["all"].interval.mean  # over its own pair
    assert [metric.methods[name].common_mean for name in ("few", "all")] == [metric.methods["few"].interval.mean, 0]
    assert (metric.best, metric.methods["all"].rank, metric.common_pairs) == (("all",), 1, 1)
    assert (
        "the means of structure-difference, appearance-similarity are over different pairs"
        in (tmp_path / "out/summary.md").read_text()
    )


@pytest.mark.parametrize("name", ["values.jsonl", "values.csv"])
def test_manifest_in_place_of_a_file_of_the_evaluation_is_refused(method, pairs, tmp_path, name):
    manifest = tmp_path / "out" / name
    write(manifest, read_pairs(pairs))
    before = manifest.read_bytes()
    with pytest.raises(UserError, match=f"{name} is an output file in"):
        evaluate(EvaluationPlan(manifest, (method("one", 10),), device="cpu"), tmp_path / "out", force=True)
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("link", ["", "in/0a.png", "one/p0.png"])
def test_image_in_place_of_a_plot_is_refused_also_if_it_is_a_link(evaluated, method, pairs, tmp_path, link):
    plot, outputs = image(tmp_path / "out" / "scatter.png"), method("one", 10)
    if link:
        (tmp_path / link).unlink()
        (tmp_path / link).symlink_to(plot)
    else:
        write(pairs, [Pair("p0", tmp_path / "in" / "0s.png", plot)])
    with pytest.raises(UserError, match=f"{link or plot} is an output file in {plot.parent} and would be replaced"):
        evaluated(outputs, force=True)
    assert plot.exists()


def test_plot_with_the_name_of_an_output_that_is_missing_is_refused(evaluated, method, pairs, tmp_path):
    image(tmp_path / "out" / "p1.png")
    outputs = Method("one", tmp_path / "out")
    write(pairs, [*read_pairs(pairs), Pair("scatter", tmp_path / "in" / "0s.png", tmp_path / "in" / "0a.png")])
    with pytest.raises(
        UserError, match=r"writes scatter\.png, .* output of method one for pair scatter; choose another"
    ):
        evaluated(outputs)


@pytest.mark.slow
def test_plots_without_data_are_removed(evaluated, method, tmp_path):
    methods, metrics = (method("one", 10, ("p0",)), method("two", 20)), ("structure-difference",)
    evaluated(*methods, metrics=metrics)
    assert (tmp_path / "out" / "differences.png").exists()
    (tmp_path / "one" / "p0.png").unlink()
    method("one", 10, ("p1",))
    (tmp_path / "two" / "p1.png").unlink()  # now the methods have no pair in common
    evaluated(*methods, metrics=metrics)
    assert not (tmp_path / "out" / "differences.png").exists()
    assert (tmp_path / "out" / "distributions.png").exists()


@pytest.fixture
def meanwhile(quick_metrics, monkeypatch):
    """Function that sets an action to take while the last pair is measured."""

    def act(action):
        def value(case):
            if case.id == "p4":
                action()
            return 1.0

        monkeypatch.setitem(quick_metrics, "acting", MetricSpec("acting", lambda _: Metric(value), "it"))

    return act


def test_manifest_that_changes_during_the_evaluation_is_an_error_and_values_are_reused(
    evaluated, method, pairs, tmp_path, meanwhile
):
    first = method("one", 10)
    meanwhile(lambda: write(pairs, [*read_pairs(pairs)][1:]))
    with pytest.raises(VitspliceError, match=r"pairs\.csv was changed during the evaluation; .* with force=True"):
        evaluated(first, metrics=("acting", "set-sum"))
    logged = (tmp_path / "out" / "values.jsonl").read_bytes()
    assert evaluated(first, metrics=("acting", "set-sum"), force=True).pairs == 4
    assert (tmp_path / "out" / "values.jsonl").read_bytes() == logged


def test_output_that_is_removed_during_the_evaluation_leaves_its_set_without_value(
    evaluated, method, tmp_path, meanwhile
):
    meanwhile((tmp_path / "one" / "p0.png").unlink)
    summary = evaluated(method("one", 10, ("p0", "p1", "p4")), metrics=("acting", "set-sum"))
    score = summary.metrics["set-sum"].methods["one"]
    assert (score.known, score.reason) == (False, "the output of p0 was removed during the evaluation")


@pytest.mark.slow
def test_adding_a_method_reuses_values(evaluated, method, tmp_path):
    first = method("one", 10)
    evaluated(first)
    before = (tmp_path / "out" / "values.jsonl").read_bytes()
    evaluated(first, method("two", 20), force=True)
    assert (tmp_path / "out" / "values.jsonl").read_bytes().startswith(before)
    assert len(rows(tmp_path)) == 10


def test_invalid_plans_are_rejected_before_anything_is_written(evaluated, method, pairs, tmp_path):
    first = method("one", 10)
    with pytest.raises(UserError, match="has no output for any of the 5 pairs"):
        evaluated(first, Method("empty", tmp_path / "in"))
    with pytest.raises(UnknownName, match="set-sum"):
        evaluated(first, metrics=("set-sumt",))
    with pytest.raises(UnknownName, match="tiny-vit"):
        evaluated(first, backbone="tinny-vit")
    with pytest.raises(UserError, match="none of the metrics is available: unbuildable: .*: ZeroDivisionError"):
        evaluated(first, metrics=("unbuildable",))
    pair = Pair("p0", tmp_path / "in" / "0s.png", tmp_path / "in" / "0a.png")
    write(pairs, [pair, pair])
    with pytest.raises(ConfigError, match="duplicate id"):
        evaluated(first)
    write(pairs, [])
    with pytest.raises(UserError, match="has no pairs"):
        evaluated(first)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_plots")
def test_progress_is_reported(quick_metrics, pairs, method, tmp_path):
    reports = []
    plan = EvaluationPlan(pairs, (method("one", 10),), ("structure-difference", "set-sum"), device="cpu")
    evaluate(plan, tmp_path / "out", progress=ProgressReporter(lambda *report: reports.append(report)))
    assert [report for report in reports if report[0].startswith("p")] == [(f"p{n}", n, 5) for n in range(5)]
    assert ("set-sum of one", 0, 1) in reports
    assert ("gallery", 4, 5) in reports


def test_noise_of_float32_decides_no_rank(evaluated, method, quick_metrics, monkeypatch):
    spec = quick_metrics["structure-difference"]

    def build(context):
        noise = iter([0.0, 1e-8] * 5)
        return replace(spec.build(context), value=lambda case: 0.2646 + next(noise))

    monkeypatch.setitem(quick_metrics, "structure-difference", replace(spec, build=build))
    metric = evaluated(method("one", 10), method("two", 20)).metrics["structure-difference"]
    assert metric.best == ("one", "two")
    assert {score.rank for score in metric.methods.values()} == {1.5}
    assert metric.comparisons[0].test.mean == 0


def test_optimised_backbone_must_be_registered(evaluated, method):
    with pytest.raises(UserError, match="no backbone 'dino-vitb88'. Did you mean dino-vitb8"):
        evaluated(method("one", 10), optimised={"one": ("dino-vitb88",)})


@pytest.mark.slow
def test_folder_of_another_format_names_the_version_that_wrote_it(evaluated, method, tmp_path):
    first, plan = method("one", 10), tmp_path / "out" / "evaluate.json"
    evaluated(first)
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"format": 2, "versions": {"vitsplice": "0.0.9"}}))
    with pytest.raises(OutputExists, match=r"written by vitsplice 0\.0\.9 in format 2; this version reads format 4"):
        evaluated(first)
    evaluated(first, force=True)
    assert len(rows(tmp_path)) == 5


def test_several_outputs_of_a_pair_are_unusable(evaluated, method, tmp_path):
    first = method("one", 10)
    shutil.copy(tmp_path / "one" / "p0.png", tmp_path / "one" / "p0.webp")
    image(tmp_path / "one" / "p1" / "output.png")
    counts = evaluated(first, metrics=("structure-difference",)).counts["one"]
    assert (counts.measured, counts.missing, counts.unusable) == (3, 0, 2)
    assert counts.examples == [
        "p0: several outputs: p0.png and p0.webp; keep one of them",
        "p1: several outputs: p1.png and p1/output.png; keep one of them",
    ]
