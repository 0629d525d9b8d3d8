import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from vitsplice.contracts import Metric
from vitsplice.errors import ImageError
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.own import Network, Optimised, of_run, optimised_by, own, warning
from vitsplice.evaluation.plan import Plan
from vitsplice.presets.settings import settings_for
from vitsplice.support.jsonl import JsonLinesLog

MADE = Optimised((Network("tiny-vit", "ab"),), ("patches",))


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (Network("a", "1"), Network("b", "1"), True),
        (Network("a", "1"), Network("a", "2"), False),
        (Network("a", "1"), Network("a"), True),
        (Network("a", "1"), Network("b"), False),
    ],
)
def test_networks_are_the_same_by_their_weights_or_else_by_name(one, two, same):
    assert one.same(two) is two.same(one) is same


def test_a_metric_is_biased_by_its_network_or_by_a_loss_term(vit):
    info = replace(vit.info, name="alias", sha256="ab")
    looks, pixels, optimised_by = Metric(float, (info,)), Metric(float), Metric(float, optimised_by=("patches", "x"))
    assert [own(metric, MADE) for metric in (looks, pixels, optimised_by)] == ["network", "no", "term"]
    assert [own(metric, None) for metric in (looks, pixels, optimised_by)] == ["not known", "no", "not known"]
    assert [own(metric, Optimised()) for metric in (looks, pixels, optimised_by)] == ["no", "no", "no"]
    told = warning("mine", MADE, {"a": "network", "b": "no", "c": "network", "d": "term"})
    assert "mine was made with tiny-vit, the network of a, c: biased" in told[0]
    assert "loss terms like d: biased" in told[1]
    assert warning("mine", MADE, {"b": "no"}) == warning("mine", None, {"a": "not known"}) == []


def run_folder(path, finished=True, **changes):
    path.mkdir()
    backbone = {"name": "tiny-vit", "sha256": "ab"} | changes
    (path / "run.json").write_text(json.dumps({"finished": finished, "backbone": backbone}))
    (path / "run.yaml").write_text(settings_for("quick").to_yaml())
    return path / "output.png"


def test_a_run_says_what_it_optimised(tmp_path):
    found = of_run(run_folder(tmp_path / "run"))
    assert found.networks == (Network("tiny-vit", "ab"),)
    assert {"patches", "structure"} <= set(found.terms)
    (tmp_path / "run" / "run.yaml").write_text(settings_for("quick", steps=0).to_yaml())
    assert of_run(tmp_path / "run" / "output.png").terms == ()
    assert of_run(run_folder(tmp_path / "random", sha256=None)).networks == (Network("tiny-vit"),)


def test_an_unfinished_run_is_no_output(tmp_path):
    with pytest.raises(ImageError, match="not finished"):
        of_run(run_folder(tmp_path / "run", finished=False))


def test_what_has_no_record_says_nothing(tmp_path):
    assert of_run(tmp_path / "a.png") is None
    assert of_run(tmp_path / "output.png") is None
    output = run_folder(tmp_path / "run")
    for text in ("[]", "{", '{"backbone": 3}', '{"backbone": {"name": "x"}}'):
        (tmp_path / "run" / "run.json").write_text(text)
        assert of_run(output) is None


def test_a_method_optimised_what_all_of_its_records_say(tmp_path):
    other = Optimised((Network("other"),), ("edges",))
    records = {1: MADE, 2: other, 3: None, 4: MADE}
    keys = np.array([[1, 2, 0], [1, 3, 0], [4, 0, 0], [0, 0, 0]], np.uint64)
    plan = Plan(tmp_path, tuple(Method(name, tmp_path) for name in "abcd"), optimised={"b": "none"})
    with JsonLinesLog(tmp_path / "log") as log:
        for key, record in records.items():
            log.add(key, {"optimised": asdict(record)} if record else {})
        found = optimised_by(plan, log, keys)
        assert found["a"] == Optimised((Network("tiny-vit", "ab"), Network("other")), ("edges", "patches"))
        assert (found["b"], found["c"], found["d"]) == (Optimised(), MADE, None)
        assert optimised_by(replace(plan, optimised={"a": "dino"}), log, keys)["a"] == Optimised((Network("dino"),))
        assert optimised_by(replace(plan, optimised={}), log, keys)["b"] is None
