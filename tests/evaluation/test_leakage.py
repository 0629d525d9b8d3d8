import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from vitsplice.errors import ImageError
from vitsplice.evaluation.leakage import leakage_warnings, optimised_by_methods, read_optimised
from vitsplice.evaluation.plan import EvaluationPlan, Method
from vitsplice.metrics.leakage import NetworkId, OptimisedParts
from vitsplice.presets.settings import settings_for
from vitsplice.support.files import file_sha256
from vitsplice.support.jsonl import JsonLinesLog

PARTS = OptimisedParts((NetworkId("tiny-vit", "ab"),), ("patches",))


def test_leakage_warnings_name_metrics_and_networks():
    warnings = [*leakage_warnings("mine", PARTS, {"a": "network", "b": "none", "c": "network", "d": "term"})]
    assert "mine used tiny-vit, the network of a, c; these metrics are biased" in warnings[0]
    assert "loss terms like d; this metric is biased" in warnings[1]
    several = OptimisedParts((NetworkId("vit"), NetworkId("cnn")))
    assert "mine used vit, cnn, one of them the network of a; this metric is biased" in next(
        leakage_warnings("mine", several, {"a": "network"})
    )
    assert "mine used vit, cnn, among them networks of a, c; these metrics are biased" in next(
        leakage_warnings("mine", several, {"a": "network", "c": "network"})
    )
    assert not [*leakage_warnings("mine", PARTS, {"b": "none"}), *leakage_warnings("mine", None, {"a": "unknown"})]


def run_folder(path, finished=True, **changes):
    path.mkdir()
    backbone = {"name": "tiny-vit", "sha256": "ab"} | changes
    (path / "run.json").write_text(json.dumps({"finished": finished, "backbones": {"main": backbone}}))
    (path / "run.yaml").write_text(settings_for("quick").to_yaml())
    return path / "output.png"


def test_run_record_has_network_and_terms(tmp_path):
    parts = read_optimised(run_folder(tmp_path / "run"))
    assert parts.networks == (NetworkId("tiny-vit", "ab"),)
    assert {"patches", "structure"} <= set(parts.terms)
    (tmp_path / "run" / "run.yaml").write_text(settings_for("quick", steps=0).to_yaml())
    assert read_optimised(tmp_path / "run" / "output.png").terms == ()
    assert read_optimised(run_folder(tmp_path / "random", sha256=None)).networks == (NetworkId("tiny-vit"),)


def test_run_with_several_backbones_optimised_each_of_them(tmp_path):
    output = run_folder(tmp_path / "run")
    infos = {"vit": {"name": "tiny-vit", "sha256": "ab"}, "cnn": {"name": "tiny-cnn", "sha256": ""}}
    (tmp_path / "run" / "run.json").write_text(json.dumps({"finished": True, "backbones": infos}))
    assert read_optimised(output).networks == (NetworkId("tiny-vit", "ab"), NetworkId("tiny-cnn"))


def test_output_of_an_unfinished_run_is_rejected(tmp_path):
    with pytest.raises(ImageError, match="unfinished"):
        read_optimised(run_folder(tmp_path / "run", finished=False))


def test_output_of_a_run_that_was_killed_before_its_record_is_rejected(tmp_path):
    output = run_folder(tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    assert read_optimised(output) is None
    (tmp_path / "run" / "checkpoint").mkdir()
    (tmp_path / "run" / "checkpoint" / "begun.json").write_text("{}")
    with pytest.raises(ImageError, match="unfinished"):
        read_optimised(output)


def test_output_of_a_model_has_the_networks_of_its_current_record(tmp_path):
    output = tmp_path / "a.png"
    output.write_bytes(b"a")
    entry = {"format": 1, "name": "a.png", "sha256": file_sha256(output)}
    for name in ("vit", "other"):
        model = {"networks": [{"name": name, "sha256": "ab"}], "terms": ["patches"]}
        (tmp_path / "apply.jsonl").write_text(json.dumps(entry | {"model": model}) + "\n")
        assert read_optimised(output) == OptimisedParts((NetworkId(name, "ab"),), ("patches",))
    output.write_bytes(b"b")
    assert read_optimised(output) is None


def test_output_without_a_valid_record_is_unknown(tmp_path):
    assert read_optimised(tmp_path / "a.png") is None
    assert read_optimised(tmp_path / "output.png") is None
    output = run_folder(tmp_path / "run")
    for text in ("[]", "{", '{"backbones": 3}', '{"backbones": {"main": {"name": "x"}}}', '{"backbones": [3]}'):
        (tmp_path / "run" / "run.json").write_text(text)
        assert read_optimised(output) is None


def test_method_optimised_the_union_of_its_records(tmp_path):
    other = OptimisedParts((NetworkId("other"),), ("edges",))
    records = {1: PARTS, 2: other, 3: None, 4: PARTS}
    keys = np.array([[1, 2, 0], [1, 3, 0], [4, 0, 0], [0, 0, 0]], np.uint64)
    plan = EvaluationPlan(tmp_path, tuple(Method(name, tmp_path) for name in "abcd"), optimised={"b": ()})
    with JsonLinesLog(tmp_path / "log") as log:
        for key, record in records.items():
            log.add(key, {"optimised": asdict(record)} if record else {})
        parts = optimised_by_methods(plan, log, keys)
        assert parts["a"] == OptimisedParts((NetworkId("tiny-vit", "ab"), NetworkId("other")), ("edges", "patches"))
        assert (parts["b"], parts["c"], parts["d"]) == (OptimisedParts(terms=PARTS.terms), PARTS, None)
        assert optimised_by_methods(replace(plan, optimised={"a": ("dino", "lite")}), log, keys)["a"] == OptimisedParts(
            (NetworkId("dino"), NetworkId("lite")), ("edges", "patches")
        )
        assert optimised_by_methods(replace(plan, optimised={}), log, keys)["b"] is None


def test_output_of_a_model_may_have_the_name_of_the_output_of_a_run(tmp_path):
    output = run_folder(tmp_path / "run")
    output.write_bytes(b"a")
    model = {"networks": [{"name": "cnn", "sha256": "cd"}], "terms": []}
    entry = {"format": 1, "name": "output.png", "sha256": file_sha256(output), "model": model}
    (tmp_path / "run" / "apply.jsonl").write_text(json.dumps(entry) + "\n")
    assert read_optimised(output) == OptimisedParts((NetworkId("cnn", "cd"),), ())
    output.write_bytes(b"b")
    assert read_optimised(output).networks == (NetworkId("tiny-vit", "ab"),)
