import json

import pytest
from PIL import Image

from vitsplice.batch.plan import pair_folder
from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import ImageError, ImageNotFound, UserError
from vitsplice.evaluation.plan import WORK, EvaluationPlan, Method, parse_method
from vitsplice.images.decode import FORMATS
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.support.image_files import SUFFIXES


@pytest.mark.parametrize(
    "name", [*(f"a{suffix}" for suffix in SUFFIXES), "a.JPG", "a/output.png", f"{pair_folder('a')}/output.png"]
)
def test_outputs_are_matched_by_id(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    method = Method("m", tmp_path)
    assert method.output("a") == path
    assert [*method.outputs("a")] == [path]
    with pytest.raises(ImageNotFound, match="^no output$"):
        method.output("b")


def test_outputs_whose_names_differ_only_in_case_are_refused_unless_they_are_one_file(tmp_path):
    (tmp_path / "a.png").write_text("one")
    (tmp_path / "a.PNG").hardlink_to(tmp_path / "a.png")  # as on file systems that ignore case
    method = Method("m", tmp_path)
    assert method.output("a") == tmp_path / "a.png"
    (tmp_path / "a.PNG").unlink()
    (tmp_path / "a.PNG").write_text("two")
    with pytest.raises(ImageError, match=r"several outputs: a\.png and a\.PNG; keep one"):
        method.output("a")


def test_outputs_may_have_every_readable_format():
    format_of = Image.registered_extensions()
    assert {format_of[suffix] for suffix in SUFFIXES} == set(FORMATS)


def test_a_model_folder_is_refused(tmp_path):
    (tmp_path / "model.yaml").write_text("")
    with pytest.raises(UserError, match="is a model; give the folder of its outputs, which `vitsplice apply`"):
        parse_method(f"m={tmp_path}")


def test_batch_with_one_variant_is_a_method_and_one_with_several_is_refused(tmp_path):
    (tmp_path / "batch.json").write_text(json.dumps({"variants": {"quick": {}}}))
    assert parse_method(f"mine={tmp_path}") == Method("mine", tmp_path / "quick")
    (tmp_path / "batch.json").write_text(json.dumps({"variants": {"quick": {}, "best": {}}}))
    with pytest.raises(UserError, match=r"2 variants \(best, quick\).*best"):
        parse_method(f"mine={tmp_path}")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"other": 1}', *(f'{{"variants": {value}}}' for value in ("{}", '["quick"]', "5", "null"))]
)
def test_a_batch_file_without_variants_is_refused(tmp_path, content):
    (tmp_path / "batch.json").write_text(content)
    with pytest.raises(UserError, match=r"batch\.json is not the record of a batch"):
        parse_method(f"mine={tmp_path}")


@pytest.mark.parametrize("text", ["", "x", "=x", "a b=.", "x=", "x=nowhere", f"x={'n' * 300}", "é=."])
def test_invalid_methods_are_rejected(text):
    with pytest.raises(UserError, match=r"NAME=FOLDER|there is no folder"):
        parse_method(text)


@pytest.mark.parametrize("name", ["../other", "/etc", "a/../..", ""])
def test_variant_outside_of_the_folder_of_its_batch_is_rejected(tmp_path, name):
    (tmp_path / "batch.json").write_text(json.dumps({"variants": {name: {}}}))
    with pytest.raises(UserError, match="cannot be a path in"):
        parse_method(f"mine={tmp_path}")


def test_record_has_everything_that_values_depend_on(pairs, tmp_path, vit):
    spec = MetricSpec("mine", lambda context: None, "mine")
    built = BuiltMetrics(((spec, Metric(float, (vit.info,), {"sizes": (1, 2)})),), {})
    record = EvaluationPlan(pairs, (Method("m", tmp_path),)).record(built, "cpu")
    assert json.loads(json.dumps(record)) == record
    assert record["metrics"]["mine"]["networks"] == [{"name": "tiny-vit", "sha256": vit.info.sha256}]
    assert record["metrics"]["mine"]["parameters"]["sizes"] == [1, 2]
    assert {"torch", "vitsplice"} <= set(record["versions"])
    assert set(WORK.part_keys) < set(record)


def test_record_does_not_depend_on_the_spelling_of_paths(pairs, tmp_path):
    (tmp_path / "inner").mkdir()
    around = tmp_path / "inner" / ".."
    spellings = (pairs, tmp_path), (pairs.parent / "." / pairs.name, around)
    plans = [EvaluationPlan(manifest, (Method("m", folder),)) for manifest, folder in spellings]
    first, second = (plan.record(BuiltMetrics((), {}), "cpu") for plan in plans)
    assert first == second


@pytest.mark.parametrize(
    ("names", "optimised", "message"),
    [("", {}, "at least one method"), ("mm", {}, "'m' is given twice"), ("m", {"x": ()}, "'x'; the methods are m")],
)
def test_missing_duplicate_and_unknown_methods_of_a_plan_are_refused(pairs, tmp_path, names, optimised, message):
    with pytest.raises(UserError, match=message):
        EvaluationPlan(pairs, tuple(Method(name, tmp_path) for name in names), optimised=optimised)
