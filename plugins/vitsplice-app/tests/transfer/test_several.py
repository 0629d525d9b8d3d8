"""Runs of the page with several appearance images and regions."""

import pytest
from vitsplice_app.transfer import outcome, running
from vitsplice_app.transfer.several import several_sources

from tests.conftest import noise, write_labels
from vitsplice.cli import main
from vitsplice.errors import UserError
from vitsplice.images import encode_png

MATCHED = ("backbone.name=tiny-vit", "start=match", "match.grid=8", "steps=2")


@pytest.mark.slow
def test_run_with_several_images_and_regions_is_repeated_by_its_command(new_run, sources, tmp_path, monkeypatch):
    other = tmp_path / "other.png"
    other.write_bytes(encode_png(noise(3, 40, 36)))
    structure_labels, *appearance_labels = (str(write_labels(path)) for path in (*sources.values(), other))
    run = new_run(*MATCHED, **several_sources([str(other)], [structure_labels], appearance_labels))
    list(running.begin(run))
    record = run.folder.record()
    assert list(record["inputs"]) == ["structure", "appearance", "appearance_2"]
    assert [region["appearance"] for region in record["regions"]] == ["appearance", "appearance_2"]
    command, code = outcome.repeat_code(run)
    assert "Region(structure_mask='images/region_1_structure_mask/structure_labels.png', appearance=0" in code
    monkeypatch.chdir(run.path)
    assert main(command.split()[1:]) == 0
    assert (run.path / "again" / "output.png").read_bytes() == run.folder.output.read_bytes()


def test_without_files_there_are_no_further_sources():
    assert several_sources([], [], []) == {}


@pytest.mark.parametrize(
    ("structure", "appearance", "message"),
    [
        (["s.png"], [], "there are no regions of any appearance image"),
        ([], ["a.png"], "there are no regions of the structure image"),
        (["s.png"], ["a.png", "b.png", "c.png"], "3 images with regions for 2 appearance images"),
    ],
)
def test_label_images_of_only_one_role_or_of_too_many_images_are_refused(structure, appearance, message):
    with pytest.raises(UserError, match=message):
        several_sources(["b.png"], structure, appearance)
