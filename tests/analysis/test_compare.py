import json
import weakref
from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.analysis import cell, compare, comparison, encoding
from vitsplice.analysis.compare import Plan
from vitsplice.errors import OutputBusy, OutputExists, UserError, WeightsUnavailable
from vitsplice.images import encode_png, read
from vitsplice.support.output_folder import FolderLock
from vitsplice.support.progress import ProgressReporter


@pytest.fixture
def plan(png):
    return Plan(tuple(png), ("tiny-vit", "tiny-cnn"), size=64, transfers=0, style=None)


def test_metrics_of_every_backbone_and_image(plan, tmp_path):
    seen = []
    found = compare.compare(plan, tmp_path / "out", progress=ProgressReporter(lambda *told: seen.append(told)))
    assert list(found.infos) == ["tiny-vit", "tiny-cnn"]
    assert found.images == ("structure", "appearance")
    assert {(row.backbone, row.image) for row in found.rows if row.figure == "pck"} == {
        (name, image) for name in found.infos for image in found.images
    }
    assert seen[-1][1:] == (4, 4)
    assert (tmp_path / "out" / "metrics.csv").read_text() == found.csv()


@pytest.mark.parametrize(
    ("moment", "changed"),
    [(0, {}), (3, {}), (4, {"transfers": 1, "preset": "tiny", "steps": 4, "backbones": ("tiny-vit",)})],
    ids=["before the first cell", "among cells", "in a transfer"],
)
def test_stopped_at_any_moment_it_goes_on_to_the_same_metrics(plan, tmp_path, moment, changed):
    plan = replace(plan, **changed)
    whole = compare.compare(plan, tmp_path / "whole").csv()
    asked = iter(range(1_000))
    progress = ProgressReporter(stopped=lambda: next(asked) >= moment)
    assert compare.compare(plan, tmp_path / "out", progress=progress) is None
    assert not (tmp_path / "out" / compare.REPORT).exists()
    assert compare.compare(plan, tmp_path / "out").csv() == whole


def test_what_is_finished_is_kept(plan, tmp_path, monkeypatch):
    first = compare.compare(plan, tmp_path / "out")
    path = next((tmp_path / "out" / "cells" / "tiny-cnn").iterdir())
    path.write_bytes(path.read_bytes()[:50])
    looked = []
    look_at = cell.look_at
    monkeypatch.setattr(cell, "look_at", lambda subject, backbone: looked.append(1) or look_at(subject, backbone))
    again = compare.compare(plan, tmp_path / "out")
    assert len(looked) == 1
    assert again.csv() == first.csv()


def test_another_plan_is_refused_without_force(plan, tmp_path):
    compare.compare(plan, tmp_path / "out")
    other = Plan(plan.images, plan.backbones[:1], size=64, transfers=0, style=None)
    with pytest.raises(OutputExists, match="another comparison"):
        compare.compare(other, tmp_path / "out")
    assert list(compare.compare(other, tmp_path / "out", force=True).infos) == ["tiny-vit"]


def test_mistakes_are_told_before_anything_is_made(plan, png, tmp_path):
    with pytest.raises(UserError, match="at least two images"):
        Plan((png[0],), ("tiny-vit",))
    with pytest.raises(UserError, match="the same image is given twice: .*structure.*structure"):
        compare.compare(Plan((png[0], png[1], png[0]), ("tiny-vit",), style=None), tmp_path / "out")
    with pytest.raises(UserError, match="at least one backbone"):
        Plan(tuple(png), ())
    with pytest.raises(WeightsUnavailable):
        compare.compare(Plan(plan.images, ("tiny-vit", "tiny-gone"), size=64, style=None), tmp_path / "out")
    assert not (tmp_path / "out" / "cells").exists()
    with pytest.raises(UserError, match="is a file"):
        compare.compare(plan, png[0])


def test_one_at_a_time(plan, tmp_path):
    (tmp_path / "out").mkdir()
    lock = FolderLock(tmp_path / "out")
    with pytest.raises(OutputBusy):
        compare.compare(plan, tmp_path / "out", force=True)
    lock.release()
    assert not list((tmp_path / "out").iterdir())


def test_cells_of_other_versions_are_not_taken(plan, tmp_path, monkeypatch):
    compare.compare(plan, tmp_path / "out")
    monkeypatch.setattr(compare, "versions", lambda: {"torch": "0"})
    looked = []
    look_at = cell.look_at
    monkeypatch.setattr(cell, "look_at", lambda subject, backbone: looked.append(1) or look_at(subject, backbone))
    with pytest.raises(OutputExists, match="it differs in versions"):
        compare.compare(plan, tmp_path / "out")
    compare.compare(plan, tmp_path / "out", force=True)
    assert len(looked) == 4


def test_transfers_are_runs_with_the_backbone_as_the_only_change(plan, tmp_path):
    with_transfers = Plan(plan.images, plan.backbones, size=64, transfers=1, preset="tiny", steps=2, style="tiny")
    found = compare.compare(with_transfers, tmp_path / "out")
    assert set(found.transfers) == {(name, "structure from appearance") for name in found.infos}
    inputs = found.inputs["structure from appearance"]
    assert torch.equal(inputs[0], read(plan.images[0]).pixels[0])
    assert torch.equal(inputs[1], read(plan.images[1]).pixels[0])
    runs = sorted((tmp_path / "out" / "transfers").iterdir())
    facts = [json.loads((run / "run.json").read_text()) for run in runs]
    assert [one["backbone"]["name"] for one in facts] == ["tiny-cnn", "tiny-vit"]
    assert {row.of for row in found.rows if row.figure == "structure change"} >= {"style", "grey", "flip"}
    assert {row.of for row in found.rows if row.figure == "transfer"} >= {"gradient-ssim", "lab-patches"}
    before = [(run / "output.png").stat().st_mtime_ns for run in runs]
    compare.compare(with_transfers, tmp_path / "out")
    assert [(run / "output.png").stat().st_mtime_ns for run in runs] == before


def test_without_the_backbone_of_the_style_there_is_none_and_it_is_said(plan, tmp_path, png):
    preset = tmp_path / "gone.yaml"
    preset.write_text("backbone: {name: tiny-gone}\nstart: match\nsteps: 0\n")
    notes = []
    styled = Plan(plan.images, ("tiny-vit",), size=64, transfers=0, style=str(preset))
    found = compare.compare(styled, tmp_path / "out", progress=ProgressReporter(note=notes.append))
    assert "no change of style" in notes[0]
    assert "style" not in {row.of for row in found.rows}


def test_masks_are_found_by_name(plan, tmp_path, png):
    masks = tmp_path / "masks"
    masks.mkdir()
    half = torch.zeros(3, 40, 48)
    half[..., 20:] = 1
    (masks / "structure.png").write_bytes(encode_png(half))
    found = compare.compare(Plan(plan.images, ("tiny-vit",), masks, 64, 0, style=None), tmp_path / "out")
    assert {row.image for row in found.rows if row.figure == "parts"} == {"structure"}
    (masks / "structure.png").write_bytes(encode_png(half[..., :-1]))
    with pytest.raises(UserError, match="is not as large as"):
        compare.compare(Plan(plan.images, ("tiny-vit",), masks, 64, 0, style=None), tmp_path / "out")


def test_images_of_colliding_names_are_all_compared(tmp_path):
    """``x/a.png y/a.png "a 1.png"`` were two images by name, and one was lost."""
    images = [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png", tmp_path / "a 1.png"]
    for number, path in enumerate(images):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(noise(3, 40, 48, seed=number)))
    found = compare.compare(Plan(tuple(images), ("tiny-vit",), size=64, transfers=0, style=None), tmp_path / "out")
    assert found.images == ("x/a", "y/a", "a 1")
    assert len(list((tmp_path / "out" / "cells" / "tiny-vit").iterdir())) == 3
    assert {row.image for row in found.rows} == {*found.images, ""}


def test_the_features_that_are_compared_are_named_in_the_files(plan, tmp_path):
    compare.compare(plan, tmp_path / "out")
    features = json.loads((tmp_path / "out" / "compare.json").read_text())["features"]
    assert features["tiny-vit"] == {"structure": "key", "appearance": "cls", "layers": [-3, -2, -1]}
    assert features["tiny-cnn"]["structure"] == "map"
    for name in ("metrics.csv", "intervals.csv"):
        assert {"key", "cls", "map", "pooled"} <= {
            line.split(",")[1] for line in (tmp_path / "out" / name).read_text().splitlines()[1:]
        }


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    """At no time are more than a few cells of a backbone, or any image but one, in memory."""
    images = [tmp_path / f"{number}.png" for number in range(14)]
    for number, path in enumerate(images):
        path.write_bytes(encode_png(noise(3, 64, 64, seed=number)))
    alive, most, read = weakref.WeakSet(), [], cell.read

    def counted(file):
        if (made := read(file)) is not None:
            alive.add(made.structure)
            most.append(len(alive))
        return made

    monkeypatch.setattr(cell, "read", counted)
    compare.compare(Plan(tuple(images), ("tiny-vit",), size=64, transfers=0, style=None), tmp_path / "out")
    assert cell.IN_MEMORY <= max(most) <= cell.IN_MEMORY + 2 < len(images)


def test_cells_are_read_as_often_as_their_number_and_not_its_square(tmp_path, monkeypatch):
    images = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(images):
        path.write_bytes(encode_png(noise(3, 64, 64, seed=number)))
    plan = Plan(tuple(images), ("tiny-vit",), size=64, transfers=0, style=None)
    distances = []
    distance = encoding.distance
    monkeypatch.setattr(encoding, "distance", lambda one, two: distances.append(1) or distance(one, two))
    compare.compare(plan, tmp_path / "out")
    changes = 2 * 3 * 8 * len(images)
    assert len(distances) == changes + 2 * 3 * comparison.OTHERS * len(images)


@pytest.mark.parametrize("name", ["compare.json", "metrics.csv", "report.html", "cells", "cells/tiny-vit", "transfers"])
def test_a_link_out_of_the_folder_is_refused(plan, tmp_path, victim, name):
    plan = replace(plan, backbones=("tiny-vit",), transfers=1, preset="tiny", steps=1)
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(victim / ("report.html" if path.suffix else "run"))
    for force in (False, True):
        with pytest.raises(UserError, match="leads out of|files with the names"):
            compare.compare(plan, tmp_path / "out", force=force)


def test_no_two_backbones_share_a_folder_of_cells():
    names = ["mine/vit", "mine_vit", "mine:vit", "a" * 90, "a" * 91]
    folders = [compare._cells_folder(name) for name in names]
    assert folders[1] == "mine_vit"
    assert len(set(folders)) == len(names)
