import csv
import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.conftest import image
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.datasets import Pair, write
from vitsplice.errors import ConfigError, UnknownName, UserError
from vitsplice.evaluation.evaluate import chosen_pairs, evaluate
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.plan import Plan
from vitsplice.images import read
from vitsplice.support.progress import ProgressReporter

FILES = ("values.csv", "summary.json", "summary.md", "gallery.html", "distributions.png")


def rows(tmp_path):
    with (tmp_path / "out" / "values.csv").open() as file:
        return list(csv.DictReader(file))


def files(tmp_path):
    return {name: (tmp_path / "out" / name).read_bytes() for name in FILES}


def pixels(path):
    return read(path).pixels


def test_every_output_has_its_metrics_in_the_order_of_the_pairs(evaluated, method, tmp_path):
    found = evaluated(method("one", 10), method("two", 20))
    table = rows(tmp_path)
    assert [(row["method"], row["id"]) for row in table] == [(m, f"p{n}") for n in range(5) for m in ("one", "two")]
    values = {}
    for row in table:
        number = row["id"][1:]
        output, structure = (
            pixels(tmp_path / row["method"] / f"p{number}.png"),
            pixels(tmp_path / "in" / f"{number}s.png"),
        )
        assert float(row["off-structure"]) == pytest.approx(float((output - structure).abs().mean()), rel=1e-5)
        values.setdefault(row["method"], []).append(float(row["off-structure"]))
    standings = found.metrics["off-structure"].standings
    assert standings["two"].mean.mean == pytest.approx(np.mean(values["two"]))
    (tested,) = found.metrics["off-structure"].tests
    assert tested.difference.mean == pytest.approx(np.mean(values["one"]) - np.mean(values["two"]))
    plain = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert plain == json.loads(json.dumps(found.plain()))
    assert plain["measured"] == {"pairs": 5, "structures": 5, "appearances": 5}
    assert plain["metrics"]["off-structure"]["facts"] == {"sizes": [1, 2]}


def test_the_sets_are_those_with_the_smallest_hashes_in_any_order(evaluated, method, pairs, tmp_path):
    found = evaluated(method("one", 10, ("p0", "p2", "p3", "p4")))
    keys = np.array([1, 0, 3, 4, 5], np.uint64)
    chosen = [pair.id for pair, _ in chosen_pairs(pairs, keys, 3)]
    assert len(set(chosen) - {"p1"}) == 3
    standing = found.metrics["of-set"].standings["one"]
    assert standing.mean.mean == pytest.approx(
        sum(float(pixels(tmp_path / "one" / f"{i}.png").mean()) for i in chosen), rel=1e-5
    )
    assert standing.mean.n == 3
    from vitsplice.datasets import read as read_pairs

    write(tmp_path / "turned.csv", list(read_pairs(pairs))[::-1])
    assert [pair.id for pair, _ in chosen_pairs(tmp_path / "turned.csv", keys[::-1], 3)] == chosen


def test_what_is_finished_is_kept_and_the_files_are_the_same(evaluated, method, tmp_path):
    methods = method("one", 10), method("two", 20)
    evaluated(*methods)
    whole = files(tmp_path)
    log = tmp_path / "out" / "values.jsonl"
    text = log.read_bytes()
    for cut in (0, len(text) // 2, len(text) - 1):
        for name in FILES:
            (tmp_path / "out" / name).unlink()
        log.write_bytes(text[:cut])
        evaluated(*methods)
        assert files(tmp_path) == whole
        assert log.read_bytes().startswith(text[: text.rindex(b"\n", 0, cut) + 1 if b"\n" in text[:cut] else 0])


@pytest.mark.parametrize("moment", [0, 9, 18])
def test_stopped_at_any_moment_it_goes_on_to_the_same_files(evaluated, method, tmp_path, moment):
    methods = method("one", 10), method("two", 20)
    evaluated(*methods)
    whole = files(tmp_path)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    asked = iter(range(10_000))
    stopped = evaluated(*methods, progress=ProgressReporter(stopped=lambda: next(asked) >= moment))
    assert stopped is None or moment > 15
    assert evaluated(*methods) is not None
    assert files(tmp_path) == whole


def test_only_outputs_that_are_others_are_measured_again(evaluated, method, quick_metrics, tmp_path, monkeypatch):
    one = method("one", 10)
    evaluated(one)
    seen = []
    spec = quick_metrics["off-structure"]

    def build(context):
        inner = spec.build(context)
        return replace(inner, value=lambda case: seen.append(case.id) or inner.value(case))

    monkeypatch.setitem(quick_metrics, "off-structure", replace(spec, build=build))
    evaluated(one)
    assert seen == []
    image(tmp_path / "one" / "p3.png", seed=99)
    os.utime(tmp_path / "one" / "p3.png", ns=(0, time.time_ns()))
    evaluated(one)
    assert seen == ["p3"]
    assert float(rows(tmp_path)[3]["off-structure"]) == pytest.approx(
        float((pixels(tmp_path / "one" / "p3.png") - pixels(tmp_path / "in" / "3s.png")).abs().mean()), rel=1e-5
    )
    assert len(rows(tmp_path)) == 5


def test_missing_and_broken_outputs_are_told_and_the_others_measured(evaluated, method, tmp_path):
    one = method("one", 10, ("p0", "p1", "p3"))
    (tmp_path / "one" / "p1.png").write_bytes(b"no image")
    (tmp_path / "in" / "3a.png").unlink()
    account = evaluated(one).accounts["one"]
    assert (account.measured, account.missing, account.broken) == (1, 2, 2)
    assert [row["id"] for row in rows(tmp_path)] == ["p0"]
    assert {why.split(":")[0] for why in account.examples} == {"p1", "p2", "p3", "p4"}
    assert "no output" in "".join(account.examples)
    markdown = (tmp_path / "out" / "summary.md").read_text()
    assert "1 of 5 pairs measured, 2 without output, 2 broken" in markdown


def test_a_metric_that_fails_loses_only_its_own_metrics(evaluated, method, tmp_path):
    found = evaluated(method("one", 10), metrics=("off-structure", "choosy", "never"))
    assert found.left_out == {"never": "ZeroDivisionError: by zero"}
    standing = found.metrics["choosy"].standings["one"]
    assert (standing.mean.n, standing.without) == (3, 2)
    assert standing.why == "RuntimeError: not this one"
    assert [row["choosy"] for row in rows(tmp_path)] == ["1.0", "", "", "1.0", "1.0"]
    assert all(row["off-structure"] for row in rows(tmp_path))
    assert "choosy: none for 2 of one; RuntimeError: not this one" in (tmp_path / "out" / "summary.md").read_text()


def test_what_failed_is_measured_again_and_nothing_else_is(evaluated, method, quick_metrics, tmp_path, monkeypatch):
    full, seen = True, {"scarce": [], "scarce-set": [], "plenty": []}

    def scarce(case):
        seen["scarce"].append(case.id)
        if full and case.id in ("p1", "p3"):
            raise RuntimeError("out of memory")
        return float("nan") if case.id == "p2" else 1.0

    def scarce_set(cases):
        seen["scarce-set"].append([case.id for case in cases])
        if full:
            raise RuntimeError("out of memory")
        return 1.0

    values = {"scarce": scarce, "scarce-set": scarce_set, "plenty": lambda case: seen["plenty"].append(case.id) or 2.0}
    for name, value in values.items():
        spec = MetricSpec(name, lambda _, value=value: Metric(value), "it", over="set" if "set" in name else "pair")
        monkeypatch.setitem(quick_metrics, name, spec)

    one, log = method("one", 10, ("p0", "p1", "p2", "p3")), tmp_path / "out" / "values.jsonl"
    evaluated(one, metrics=tuple(values))
    kept = log.read_bytes()
    evaluated(one, metrics=tuple(values))
    assert log.read_bytes() == kept  # what fails in the same way adds no line
    assert seen["scarce"] == ["p0", "p1", "p2", "p3", "p1", "p3"]
    full = False
    for _ in range(2):
        found = evaluated(one, metrics=tuple(values))
        assert seen["scarce"] == ["p0", "p1", "p2", "p3", *["p1", "p3"] * 2]
        assert seen["plenty"] == ["p0", "p1", "p2", "p3"]
        assert len(seen["scarce-set"]) == 3
        standings = [found.metrics[name].standings["one"] for name in values]
        assert [(one.mean.mean, one.without, one.why) for one in standings] == [(1, 1, ""), (1, 0, ""), (2, 0, "")]


def test_a_figure_of_the_network_that_was_optimised_is_marked(evaluated, method, tmp_path):
    found = evaluated(
        method("one", 10), method("two", 20), method("three", 30),
        metrics=("of-network", "off-structure"), backbone="tiny-vit", optimised={"one": "tiny-vit", "two": "none"},
    )  # fmt: skip
    assert {name: s.own for name, s in found.metrics["of-network"].standings.items()} == {
        "one": "network", "two": "no", "three": "not known",
    }  # fmt: skip
    markdown = (tmp_path / "out" / "summary.md").read_text()
    assert "one was made with tiny-vit, the network of of-network: biased in its favour" in markdown
    assert "what three optimised is unknown" in markdown
    ranks = {name: s.rank for name, s in found.metrics["off-structure"].standings.items()}
    assert found.ranks == ranks  # of-network flatters one of them, so it does not count


@pytest.mark.parametrize(("images", "figure"), [("s", "off-structure"), ("a", "like-appearance")])
def test_best_is_the_end_that_is_better(evaluated, method, tmp_path, images, figure):
    (tmp_path / "same").mkdir()
    for number in range(5):
        shutil.copy(tmp_path / "in" / f"{number}{images}.png", tmp_path / "same" / f"p{number}.png")
    found = evaluated(Method("same", tmp_path / "same"), method("one", 10)).metrics[figure]
    assert found.best == ["same"]
    assert [found.standings[name].rank for name in ("same", "one")] == [1, 2]
    assert found.standings["same"].mean.mean == 0


def test_who_has_only_the_easiest_pair_and_loses_it_is_not_the_best(evaluated, pairs, tmp_path):
    light, dark = (Image.new("RGB", (20, 16), (level,) * 3) for level in (255, 0))
    for number in range(5):  # p0 is easy, the others are not
        made = Image.open(tmp_path / "in" / f"{number}s.png")
        for name, share in (("all", 0.0 if number == 0 else 0.9), ("few", 0.1)):
            if name == "all" or number == 0:
                (tmp_path / name).mkdir(exist_ok=True)
                Image.blend(made, dark if number % 2 else light, share).save(tmp_path / name / f"p{number}.png")
    found = evaluated(*(Method(name, tmp_path / name) for name in ("few", "all")))
    one = found.metrics["off-structure"]
    assert one.standings["few"].mean.mean < one.standings["all"].mean.mean  # over its own pair
    assert [one.standings[name].shared for name in ("few", "all")] == [one.standings["few"].mean.mean, 0]
    assert (one.best, one.standings["all"].rank, one.shared) == (["all"], 1, 1)
    assert "means of off-structure, like-appearance are over other pairs" in (tmp_path / "out/summary.md").read_text()


def test_a_method_is_added_and_metrics_are_kept(evaluated, method, tmp_path):
    one = method("one", 10)
    evaluated(one)
    before = (tmp_path / "out" / "values.jsonl").read_bytes()
    evaluated(one, method("two", 20), force=True)
    assert (tmp_path / "out" / "values.jsonl").read_bytes().startswith(before)
    assert len(rows(tmp_path)) == 10


def test_what_cannot_be_is_told_before_anything_is_written(evaluated, method, pairs, tmp_path):
    one = method("one", 10)
    with pytest.raises(UserError, match="has no output for any of the 5 pairs"):
        evaluated(one, Method("empty", tmp_path / "in"))
    with pytest.raises(UnknownName, match="of-set"):
        evaluated(one, metrics=("of-sett",))
    with pytest.raises(UnknownName, match="tiny-vit"):
        evaluated(one, backbone="tinny-vit")
    with pytest.raises(UserError, match="none of the metrics is available: never: ZeroDivisionError"):
        evaluated(one, metrics=("never",))
    pair = Pair("p0", tmp_path / "in" / "0s.png", tmp_path / "in" / "0a.png")
    write(pairs, [pair, pair])
    with pytest.raises(ConfigError, match="a second time"):
        evaluated(one)
    write(pairs, [])
    with pytest.raises(UserError, match="has no pairs"):
        evaluated(one)
    assert not (tmp_path / "out").exists()


def test_progress_is_told(quick_metrics, pairs, method, tmp_path):
    told = []
    plan = Plan(pairs, (method("one", 10),), ("off-structure", "of-set"), device="cpu")
    evaluate(plan, tmp_path / "out", progress=ProgressReporter(lambda *what: told.append(what)))
    assert [what for what in told if what[0].startswith("p")] == [(f"p{n}", n, 5) for n in range(5)]
    assert ("of-set of one", 0, 1) in told
    assert ("gallery", 4, 5) in told


def test_noise_of_single_precision_decides_nothing(evaluated, method, quick_metrics, monkeypatch):
    spec = quick_metrics["off-structure"]

    def build(context):
        noise = iter([0.0, 1e-8] * 5)
        return replace(spec.build(context), value=lambda case: 0.2646 + next(noise))

    monkeypatch.setitem(quick_metrics, "off-structure", replace(spec, build=build))
    found = evaluated(method("one", 10), method("two", 20)).metrics["off-structure"]
    assert found.best == ["one", "two"]
    assert {standing.rank for standing in found.standings.values()} == {1.5}
    assert found.tests[0].difference.mean == 0


def test_a_method_cannot_have_optimised_a_network_that_there_is_not(evaluated, method):
    with pytest.raises(UserError, match="no backbone 'dino-vitb88'; did you mean"):
        evaluated(method("one", 10), optimised={"one": "dino-vitb88"})
