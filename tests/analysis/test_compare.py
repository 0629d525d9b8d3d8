import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitsplice.analysis import cell, compare
from vitsplice.analysis.compare import Plan
from vitsplice.errors import OutputBusy, OutputExists, UserError, WeightsUnavailable
from vitsplice.images import encode_png
from vitsplice.report.lock import FolderLock
from vitsplice.watch import Watch


@pytest.fixture
def plan(png):
    return Plan(tuple(png), ("tiny-vit", "tiny-cnn"), size=64, transfers=0, style=None)


def test_figures_of_every_backbone_and_picture(plan, tmp_path):
    seen = []
    found = compare.compare(plan, tmp_path / "out", watch=Watch(lambda *told: seen.append(told)))
    assert list(found.infos) == ["tiny-vit", "tiny-cnn"]
    assert found.pictures == ("structure", "appearance")
    assert {(row.backbone, row.picture) for row in found.rows if row.figure == "pck"} == {
        (name, picture) for name in found.infos for picture in found.pictures
    }
    assert seen[-1][1:] == (4, 4)
    assert (tmp_path / "out" / "figures.csv").read_text() == found.csv()


@pytest.mark.parametrize(
    ("moment", "changed"),
    [(0, {}), (3, {}), (4, {"transfers": 1, "preset": "tiny", "steps": 4, "backbones": ("tiny-vit",)})],
    ids=["before the first cell", "among cells", "in a transfer"],
)
def test_stopped_at_any_moment_it_goes_on_to_the_same_figures(plan, tmp_path, moment, changed):
    plan = replace(plan, **changed)
    whole = compare.compare(plan, tmp_path / "whole").csv()
    asked = iter(range(1_000))
    watch = Watch(stopped=lambda: next(asked) >= moment)
    assert compare.compare(plan, tmp_path / "out", watch=watch) is None
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
    with pytest.raises(UserError, match="at least two pictures"):
        Plan((png[0],), ("tiny-vit",))
    with pytest.raises(UserError, match="the same picture is given twice: .*structure.*structure"):
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
    found = compare.compare(styled, tmp_path / "out", watch=Watch(note=notes.append))
    assert "no change of style" in notes[0]
    assert "style" not in {row.of for row in found.rows}


def test_masks_are_found_by_name(plan, tmp_path, png):
    masks = tmp_path / "masks"
    masks.mkdir()
    half = torch.zeros(3, 40, 48)
    half[..., 20:] = 1
    (masks / "structure.png").write_bytes(encode_png(half))
    found = compare.compare(Plan(plan.images, ("tiny-vit",), masks, 64, 0, style=None), tmp_path / "out")
    assert {row.picture for row in found.rows if row.figure == "parts"} == {"structure"}
    (masks / "structure.png").write_bytes(encode_png(half[..., :-1]))
    with pytest.raises(UserError, match="is not as large as"):
        compare.compare(Plan(plan.images, ("tiny-vit",), masks, 64, 0, style=None), tmp_path / "out")


def test_pictures_of_one_name_are_told_apart(png, tmp_path):
    other = tmp_path / "other" / "structure.png"
    other.parent.mkdir()
    other.write_bytes(Path(png[1]).read_bytes())
    found = compare.compare(Plan((png[0], other), ("tiny-vit",), size=64, transfers=0, style=None), tmp_path / "out")
    assert found.pictures == ("structure 1", "structure 2")


@pytest.mark.parametrize("name", ["compare.json", "figures.csv", "report.html", "cells", "cells/tiny-vit", "transfers"])
def test_a_link_out_of_the_folder_is_refused(plan, tmp_path, victim, name):
    plan = replace(plan, backbones=("tiny-vit",), transfers=1, preset="tiny", steps=1)
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(victim / ("report.html" if path.suffix else "run"))
    for force in (False, True):
        with pytest.raises(UserError, match="leads out of|files of the names"):
            compare.compare(plan, tmp_path / "out", force=force)
