import json

import pytest
from PIL import Image

from vitsplice.batch.plan import run_folder
from vitsplice.datasets.sources import SUFFIXES
from vitsplice.errors import UserError
from vitsplice.evaluation.outputs import Method, method
from vitsplice.images.decode import FORMATS


@pytest.mark.parametrize(
    "name", [*(f"a{suffix}" for suffix in SUFFIXES), "a.JPG", "a/output.png", f"{run_folder('v', 'a')[2:]}/output.png"]
)
def test_outputs_are_found_by_id(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert Method("m", tmp_path).find("a") == path
    assert [*Method("m", tmp_path).found("a")] == [path]
    assert Method("m", tmp_path).find("b") is None


def test_every_format_that_can_be_read_may_be_an_output():
    endings = Image.registered_extensions()
    assert {endings[suffix] for suffix in SUFFIXES} == set(FORMATS)


def test_the_one_variant_of_a_batch_is_meant(tmp_path):
    (tmp_path / "batch.json").write_text(json.dumps({"variants": {"quick": {}}}))
    assert method(f"mine={tmp_path}") == Method("mine", tmp_path / "quick")
    (tmp_path / "batch.json").write_text(json.dumps({"variants": {"quick": {}, "best": {}}}))
    with pytest.raises(UserError, match=r"2 variants \(best, quick\).*best"):
        method(f"mine={tmp_path}")


@pytest.mark.parametrize("given", ["", "x", "=x", "a b=.", "x=", "x=nowhere", f"x={'n' * 300}", "é=."])
def test_what_is_no_method_is_told(given):
    with pytest.raises(UserError, match=r"NAME=FOLDER|is no folder"):
        method(given)


@pytest.mark.parametrize("known", [{"../other": {}}, {"/etc": {}}, {"a/../..": {}}, {"": {}}, ["quick"], 5, None])
def test_a_variant_that_is_not_in_the_folder_of_its_batch_is_refused(tmp_path, known):
    (tmp_path / "batch.json").write_text(json.dumps({"variants": known}))
    with pytest.raises(UserError):
        method(f"mine={tmp_path}")
