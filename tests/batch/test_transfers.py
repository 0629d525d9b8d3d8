import math
import os
import shutil

import pytest
from tiny_models import write_tiny_model

from vitsplice import load_model
from vitsplice.batch import transfers
from vitsplice.batch.transfer_plan import plan_in, transfers_of_images
from vitsplice.batch.transfer_record import read_record
from vitsplice.batch.transfers import apply_model, output_of
from vitsplice.errors import PartRejected
from vitsplice.images import encode_png
from vitsplice.support import output_folder
from vitsplice.support.files import file_sha256
from vitsplice.support.progress import ProgressReporter

from ..conftest import noise

pytestmark = pytest.mark.slow

NAMES = ("shot at 9.41\u202fpm.png", "a\\b.png", "x:1.png")


@pytest.fixture
def applied(tmp_path):
    """Function that applies a tiny model to images with the given names, and returns the outcome.

    The first image is also the appearance image and the training image of the model.
    """

    def apply(*names, **options):
        (tmp_path / "photos").mkdir()
        for name in names:
            (tmp_path / "photos" / name).write_bytes(encode_png(noise(3, 24, 24)))
        write_tiny_model(tmp_path / "model", images=[file_sha256(tmp_path / "photos" / names[0])])
        outputs = transfers_of_images([tmp_path / "photos"], [(tmp_path / "photos" / names[0], 1.0)])
        return apply_model(load_model(tmp_path / "model"), plan_in(tmp_path / "out", outputs), force=True, **options)

    return apply


def test_images_of_any_name_are_written_and_recorded(applied, tmp_path):
    assert applied(*NAMES).written == len(NAMES)
    assert set(NAMES) < set(os.listdir(tmp_path / "out"))
    assert set(read_record(tmp_path / "out")) == set(NAMES)


def test_an_image_that_is_removed_after_its_output_was_written_is_still_noted_as_trained_on(
    applied, tmp_path, monkeypatch
):
    def write_and_remove_source(path, data):
        write_file(path, data)
        (tmp_path / "photos" / "b.png").unlink(missing_ok=True)

    write_file = output_folder.write_file
    monkeypatch.setattr(output_folder, "write_file", write_and_remove_source)
    outcome = applied("b.png")
    assert (outcome.written, outcome.failures) == (1, {})
    assert list(outcome.trained_on.values()) == [tmp_path / "photos" / "b.png"]


def test_an_output_whose_name_is_not_utf8_or_is_taken_does_not_stop_the_others(applied, tmp_path):
    latin_1 = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "out" / "taken.png").mkdir(parents=True)
    outcome = applied("a.png", latin_1, "taken.png", "z.png")
    assert outcome.written == 2
    assert "is not UTF-8, so the output cannot be recorded; rename its structure image" in str(
        outcome.failures[latin_1]
    )
    assert "cannot write" in str(outcome.failures["taken.png"])


def test_an_appearance_image_that_is_replaced_meanwhile_is_recorded_as_the_one_that_was_used(applied, tmp_path):
    appearance, original = tmp_path / "photos" / "a.png", tmp_path / "original.png"

    def replace_appearance_image(name, number, total):
        if name == "b.png":
            shutil.copy(appearance, original)
            appearance.write_bytes(encode_png(noise(3, 24, 24, seed=1)))

    applied("a.png", "b.png", progress=ProgressReporter(replace_appearance_image))
    entry = read_record(tmp_path / "out")["b.png"]
    assert entry["images"]["appearance"] == [[file_sha256(original), 1.0]]
    expected = encode_png(load_model(tmp_path / "model")(tmp_path / "photos" / "b.png", original))
    assert (tmp_path / "out" / "b.png").read_bytes() == expected


def reject(output):
    raise PartRejected("the generator failed")


@pytest.mark.parametrize(
    ("fail", "message"), [(lambda output: output * math.nan, "contain NaN"), (reject, "the generator failed")]
)
def test_an_output_that_cannot_be_computed_does_not_stop_the_others(applied, monkeypatch, fail, message):
    def output_with_failure(model, structure, *arguments):
        output = output_of(model, structure, *arguments)
        return fail(output) if structure.name.endswith("b.png") else output

    monkeypatch.setattr(transfers, "output_of", output_with_failure)
    outcome = applied("a.png", "b.png", "c.png")
    assert outcome.written == 2
    assert message in str(outcome.failures["b.png"])
