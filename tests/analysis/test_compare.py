import json
import shutil
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from vitsplice_tiny import tiny_vit

from tests.conftest import noise
from vitsplice.analysis import compare, comparison, encoding
from vitsplice.analysis.compare import ComparisonPlan
from vitsplice.analysis.comparison_images import image_sources
from vitsplice.contracts import FeatureRequest
from vitsplice.engine import backbones
from vitsplice.errors import OutputBusy, OutputExists, UserError, VitspliceError, WeightsUnavailable
from vitsplice.images import encode_png, read
from vitsplice.metrics import independent
from vitsplice.runs.recorder import Recording
from vitsplice.support.progress import ProgressReporter

pytestmark = pytest.mark.slow


def plan_of(images, *names, **settings):
    defaults = {"backbones": names, "size": 64, "transfers": 0, "style": None}
    return ComparisonPlan(tuple(images), **defaults | settings)


TRANSFER = {"transfers": 1, "preset": "tiny", "steps": 2, "backbones": ("tiny-vit",)}


@pytest.fixture(autouse=True, scope="module")
def _no_report_and_small_metrics():
    """Write no report, which takes longest and has tests of its own, and measure transfers with a tiny CNN at 64 px."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "report", lambda *_: "report")
        patch.setattr(independent, "CNN", "tiny-cnn")
        patch.setattr(independent, "SIZE", 64)
        yield


@pytest.fixture
def plan(image_files):
    return plan_of(image_files, "tiny-vit", "tiny-cnn")


@pytest.fixture(scope="module")
def finished(image_files, tmp_path_factory):
    """A finished comparison of two backbones: its result, its folder, and the reports of its progress."""
    folder, reports = tmp_path_factory.mktemp("finished"), []
    progress = ProgressReporter(lambda *report: reports.append(report))
    result = compare.compare(plan_of(image_files, "tiny-vit", "tiny-cnn"), folder, progress=progress)
    return SimpleNamespace(result=result, folder=folder, reports=reports)


@pytest.fixture
def out(finished, tmp_path):
    """A copy of the folder of the finished comparison."""
    return shutil.copytree(finished.folder, tmp_path / "out")


@pytest.fixture(scope="module")
def table_with_transfer(image_files, tmp_path_factory):
    """Table of an uninterrupted comparison with a transfer."""
    return compare.compare(plan_of(image_files, **TRANSFER), tmp_path_factory.mktemp("uninterrupted")).csv()


@pytest.fixture
def encoded(monkeypatch):
    """Names of the images that are encoded."""
    calls, encode_image = [], encoding.encode_image

    def counted(image, backbone, device):
        calls.append(image.name)
        return encode_image(image, backbone, device)

    monkeypatch.setattr(encoding, "encode_image", counted)
    return calls


@pytest.fixture
def upgraded(monkeypatch):
    """Function that gives the backbone tiny-vit another default facet, as a new version of its plugin might."""

    def upgrade():
        build_part = backbones.build_part

        def build_upgraded(spec, weights):
            if spec.name == "tiny-vit":
                return tiny_vit(weights, structure=FeatureRequest("query"))
            return build_part(spec, weights)

        monkeypatch.setattr(backbones, "build_part", build_upgraded)

    return upgrade


def noise_images(folder, number, side=64):
    images = [folder / f"{n}.png" for n in range(number)]
    for n, path in enumerate(images):
        path.write_bytes(encode_png(noise(3, side, side, seed=n)))
    return images


def test_every_backbone_has_measures_of_every_image(finished):
    result = finished.result
    assert list(result.infos) == ["tiny-vit", "tiny-cnn"]
    assert result.images == ("structure", "appearance")
    assert {(m.backbone, m.image) for m in result.measures if m.metric == "pck"} == {
        (name, image) for name in result.infos for image in result.images
    }
    assert [total for _, _, total in finished.reports] == [4, 4, 4, 4, 3, 3, 3, 3]
    assert finished.reports[-1] == ("report", 3, 3)
    assert (finished.folder / "metrics.csv").read_text() == result.csv()


def test_resume_gives_identical_metrics_wherever_it_was_stopped(image_files, table_with_transfer, tmp_path):
    plan, out = plan_of(image_files, **TRANSFER), tmp_path / "out"
    # `stopped` is called before each of 2 images, before the transfer, and after each of its 2 steps
    for checks in (0, 1, 2, 3):
        calls = iter(range(1_000))
        progress = ProgressReporter(stopped=lambda calls=calls, checks=checks: next(calls) >= checks)
        assert compare.compare(plan, out, progress=progress) is None
        assert not (out / compare.REPORT).exists()
        assert len(list(out.glob("encodings/*"))) == min(checks, 2)
    reports = []
    progress = ProgressReporter(lambda *report: reports.append(report))
    assert compare.compare(plan, out, progress=progress).csv() == table_with_transfer
    steps = [description for description, _, _ in reports if description.startswith("step")]
    assert steps == ["step 2 of 2, tiny-vit, structure from appearance"]


def test_transfer_that_ends_as_it_is_stopped_is_saved(plan, out):
    plan = replace(plan, **TRANSFER | {"steps": 1})
    calls, notes = iter(range(1_000)), []
    # `stopped` is called before each of 2 images, before the transfer, and after its step
    progress = ProgressReporter(stopped=lambda: next(calls) >= 3, note=notes.append)
    assert compare.compare(plan, out, force=True, progress=progress) is not None
    (run,) = (out / "transfers").iterdir()
    assert json.loads((run / "run.json").read_text())["finished"]
    assert notes == []


def test_notes_of_transfers_are_reported(plan, tmp_path, monkeypatch):
    def steps(recording, note):
        note("no checkpoint: disk full")
        return iter(())

    def interrupted(recording):
        raise VitspliceError("ends here")

    monkeypatch.setattr(Recording, "steps", steps)
    monkeypatch.setattr(Recording, "save", interrupted)
    plan, notes = replace(plan, transfers=1, preset="tiny", steps=1, backbones=("tiny-vit",)), []
    with pytest.raises(VitspliceError, match="ends here"):
        compare.compare(plan, tmp_path / "out", progress=ProgressReporter(note=notes.append))
    assert notes == ["no checkpoint: disk full"]


def test_temporary_files_of_a_killed_process_are_removed_and_encodings_of_another_plan_stay(plan, out):
    plan = replace(plan, backbones=("tiny-cnn",))
    stored = {path.name for path in (out / "encodings").iterdir()}
    assert len(stored) == 4
    compare.compare(plan, out, force=True)
    (out / "encodings" / f".{'0' * 16}.tmp").write_bytes(b"")
    compare.compare(plan, out)
    assert {path.name for path in (out / "encodings").iterdir()} == stored


def test_only_missing_encodings_are_computed(plan, out, encoded):
    table = (out / "metrics.csv").read_text()
    path = next((out / "encodings").glob("tiny-cnn-*"))
    path.write_bytes(path.read_bytes()[:50])
    assert compare.compare(plan, out).csv() == table
    assert len(encoded) == 1


def test_encodings_of_other_versions_are_computed_again(plan, out, monkeypatch, encoded):
    one = replace(plan, backbones=("tiny-vit",))
    compare.compare(one, out, force=True)
    assert not encoded
    monkeypatch.setattr(compare, "versions", lambda: {"torch": "0"})
    with pytest.raises(OutputExists, match="it differs in versions"):
        compare.compare(one, out)
    compare.compare(one, out, force=True)
    assert encoded == ["structure", "appearance"]


def test_encodings_of_a_backbone_with_another_default_facet_are_computed_again(plan, out, tmp_path, upgraded, encoded):
    plan = replace(plan, backbones=("tiny-vit",))
    upgraded()
    compared = compare.compare(plan, out, force=True).csv()
    assert encoded == ["structure", "appearance"]
    assert compared == compare.compare(plan, tmp_path / "new").csv()


def test_names_of_transfers_depend_on_the_features_of_all_their_backbones(plan, tmp_path, monkeypatch, upgraded):
    preset = tmp_path / "two.yaml"
    preset.write_text(
        "backbones: {main: {name: tiny-vit}, other: {name: tiny-vit}}\nsize: 32\nsteps: 1\n"
        "terms: {a: {loss: structure, weight: 1, backbone: other}}\ngenerator: {name: pixels}\n"
    )
    plan = replace(plan, transfers=1, preset=str(preset))

    monkeypatch.setattr(compare, "_recording", lambda *_: None)  # as if all transfers were finished

    def folders():
        infos = {name: backbones.load_backbone(name).info for name in plan.backbones}
        parts = compare._Computation(plan, tmp_path, infos, image_sources(plan.images, None, 64), ProgressReporter())
        return [run.path.name for run in parts.transfer().values()]

    before = folders()
    upgraded()
    assert len({*before, *folders()}) == 4


def test_another_plan_is_refused_without_force_and_replaced_with_it(plan, out, tmp_path, encoded):
    plan = replace(plan, backbones=("tiny-cnn",))
    with pytest.raises(OutputExists, match="it differs in backbones"):
        compare.compare(plan, out)
    replaced = compare.compare(plan, out, force=True)
    assert encoded == []
    assert replaced.csv() == compare.compare(plan, tmp_path / "new").csv()


def test_folder_is_locked_during_a_comparison(plan, tmp_path):
    def stopped():
        with pytest.raises(OutputBusy):
            compare.compare(plan, tmp_path / "out", force=True)
        return True

    assert compare.compare(plan, tmp_path / "out", progress=ProgressReporter(stopped=stopped)) is None


def test_backbones_with_equal_file_names_have_encodings_of_their_own(plan, tmp_path, monkeypatch, encoded):
    monkeypatch.setattr(compare, "safe_file_name", lambda name: "backbone")
    compare.compare(plan, tmp_path / "out")
    assert len(list((tmp_path / "out" / "encodings").iterdir())) == len(encoded) == 4


def test_invalid_plans_are_reported_before_anything_is_computed(plan, png, tmp_path):
    with pytest.raises(UserError, match="at least two images"):
        plan_of(png[:1], "tiny-vit")
    with pytest.raises(UserError, match="at least one backbone"):
        plan_of(png)
    with pytest.raises(UserError, match="duplicate image: .*structure.*structure"):
        compare.compare(plan_of([*png, png[0]], "tiny-vit"), tmp_path / "out")
    with pytest.raises(WeightsUnavailable):
        compare.compare(plan_of(png, "tiny-vit", "tiny-gone"), tmp_path / "out")
    assert not (tmp_path / "out" / "encodings").exists()
    with pytest.raises(UserError, match="is a file"):
        compare.compare(plan, png[0])


def test_transfers_are_runs_that_differ_only_in_the_backbone(plan, tmp_path):
    style = tmp_path / "style.yaml"
    style.write_text("backbone: {name: tiny-vit}\nstart: match\nmatch: {grid: 4}\nsteps: 0\n")
    plan = replace(plan, transfers=1, preset="tiny", steps=1, style=str(style))
    result = compare.compare(plan, tmp_path / "out")
    assert set(result.transfers) == {(name, "structure from appearance") for name in result.infos}
    inputs = result.inputs["structure from appearance"]
    assert all(torch.equal(pixels, read(path).pixels[0]) for pixels, path in zip(inputs, plan.images, strict=True))
    runs = sorted((tmp_path / "out" / "transfers").iterdir())
    facts = [json.loads((run / "run.json").read_text()) for run in runs]
    assert [run["backbones"]["main"]["name"] for run in facts] == ["tiny-cnn", "tiny-vit"]
    assert {m.detail for m in result.measures if m.metric == "structure change"} >= {"style", "grey", "flip"}
    assert {m.detail for m in result.measures if m.metric == "transfer"} >= {"gradient-ssim", "lab-patches"}


def test_transfer_that_cannot_be_resumed_or_has_no_output_or_metrics_begins_again(table_with_transfer, png, tmp_path):
    plan, out = plan_of(png, **TRANSFER), tmp_path / "out"
    calls = iter(range(1_000))
    progress = ProgressReporter(stopped=lambda: next(calls) >= 3)
    assert compare.compare(plan, out, progress=progress) is None
    (tmp_path / "moved").mkdir()
    moved = [path.rename(tmp_path / "moved" / path.name) for path in png]
    assert compare.compare(replace(plan, images=tuple(moved)), out, force=True).csv() == table_with_transfer
    (run,) = (out / "transfers").iterdir()
    written = (run / "output.png").stat().st_mtime_ns
    plan = replace(plan, images=tuple(path.rename(tmp_path / path.name) for path in moved))
    compare.compare(plan, out, force=True)
    assert (run / "output.png").stat().st_mtime_ns == written
    (run / "output.png").write_bytes(b"no image")
    assert compare.compare(plan, out).csv() == table_with_transfer
    (run / "run.json").write_text('{"finished": true}')
    assert compare.compare(plan, out).csv() == table_with_transfer


def test_transfer_with_a_corrupt_inputs_file_begins_again(table_with_transfer, png, tmp_path):
    plan, out = plan_of(png, **TRANSFER), tmp_path / "out"
    calls = iter(range(1_000))
    assert compare.compare(plan, out, progress=ProgressReporter(stopped=lambda: next(calls) >= 3)) is None
    (inputs,) = out.glob("transfers/*/checkpoint/begun.json")
    inputs.write_text("{")
    assert compare.compare(plan, out).csv() == table_with_transfer


def test_equal_relative_names_in_another_folder_are_another_plan(png, tmp_path, monkeypatch):
    names = [path.relative_to(tmp_path) for path in png]
    monkeypatch.chdir(tmp_path)
    compare.compare(plan_of(names, "tiny-vit"), tmp_path / "out")
    compare.compare(plan_of(png, "tiny-vit"), tmp_path / "out")
    other = tmp_path / "other"
    other.mkdir()
    for name in names:
        (other / name).write_bytes((tmp_path / name).read_bytes())
    monkeypatch.chdir(other)
    with pytest.raises(OutputExists, match="it differs in images"):
        compare.compare(plan_of(names, "tiny-vit"), tmp_path / "out")


def test_style_without_its_weights_is_left_out_with_a_note(plan, tmp_path):
    preset = tmp_path / "gone.yaml"
    preset.write_text("backbone: {name: tiny-gone}\nstart: match\nsteps: 0\n")
    notes = []
    plan = replace(plan, backbones=("tiny-vit",), style=str(preset))
    result = compare.compare(plan, tmp_path / "out", progress=ProgressReporter(note=notes.append))
    assert "the transform 'style' is left out" in notes[0]
    assert "style" not in {measure.detail for measure in result.measures}


def test_masks_are_assigned_by_file_name(plan, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    half = torch.zeros(3, 40, 48)
    half[..., 20:] = 1
    (masks / "structure.png").write_bytes(encode_png(half))
    plan = replace(plan, backbones=("tiny-vit",), masks=masks)
    result = compare.compare(plan, tmp_path / "out")
    assert {measure.image for measure in result.measures if measure.metric == "part iou"} == {"structure"}
    (masks / "structure.png").write_bytes(encode_png(half[..., :-1]))
    with pytest.raises(UserError, match=r"structure\.png has 47x40 px; its image .* has 48x40 px"):
        compare.compare(plan, tmp_path / "out")


def test_mask_with_a_single_label_in_the_crop_has_no_value_and_is_named(plan, tmp_path):
    masks, notes = tmp_path / "masks", []
    masks.mkdir()
    margin = torch.zeros(3, 40, 48)
    margin[..., :3] = 1
    (masks / "structure.png").write_bytes(encode_png(margin))
    plan = replace(plan, backbones=("tiny-vit",), masks=masks)
    result = compare.compare(plan, tmp_path / "out", progress=ProgressReporter(note=notes.append))
    assert not [measure for measure in result.measures if measure.metric == "part iou"]
    assert notes == [
        f"structure has no part IoU: mask {masks / 'structure.png'} has a single label "
        "on the 16 x 16 patches in the central square"
    ]


def test_images_with_equal_file_names_are_all_compared(tmp_path):
    images = [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png", tmp_path / "a 1.png"]
    for number, path in enumerate(images):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(noise(3, 40, 48, seed=number)))
    result = compare.compare(plan_of(images, "tiny-vit"), tmp_path / "out")
    assert result.images == ("x/a", "y/a", "a 1")
    assert len(list((tmp_path / "out" / "encodings").iterdir())) == 3
    assert {measure.image for measure in result.measures} == {*result.images, ""}


def test_files_name_the_compared_features(finished):
    features = json.loads((finished.folder / "compare.json").read_text())["features"]
    assert features["tiny-vit"] == {"structure": "key", "appearance": "cls", "layers": [-3, -2, -1]}
    assert features["tiny-cnn"]["structure"] == "map"
    for name in ("metrics.csv", "intervals.csv"):
        assert {"key", "cls", "map", "pooled"} <= {
            line.split(",")[1] for line in (finished.folder / name).read_text().splitlines()[1:]
        }


@pytest.fixture
def encodings_in_memory(monkeypatch):
    """Number of encodings in memory after each reading of an encoding."""
    alive, counts, read_encoding = weakref.WeakSet(), [], encoding.read_encoding

    def counted(file):
        if (result := read_encoding(file)) is not None:
            alive.add(result.structure)
            counts.append(len(alive))
        return result

    monkeypatch.setattr(encoding, "read_encoding", counted)
    return counts


def test_feature_comparisons_are_linear_in_the_number_of_images_and_encodings_in_memory_are_limited(
    tmp_path, monkeypatch, encodings_in_memory
):
    images, calls, rms_difference = noise_images(tmp_path, 5), [], encoding.rms_difference
    monkeypatch.setattr(encoding, "MAX_IN_MEMORY", 2)
    monkeypatch.setattr(comparison, "MAX_OTHER_IMAGES", 2)
    for module in (encoding, comparison):
        monkeypatch.setattr(module, "rms_difference", lambda *pair: calls.append(1) or rms_difference(*pair))
    compare.compare(plan_of(images, "tiny-vit"), tmp_path / "out")
    roles, layers, transforms = 2, 3, 8
    assert len(calls) == roles * layers * (transforms + comparison.MAX_OTHER_IMAGES) * len(images)
    assert encoding.MAX_IN_MEMORY <= max(encodings_in_memory) <= encoding.MAX_IN_MEMORY + 2 < len(images)


@pytest.mark.parametrize("name", ["compare.json", "metrics.csv", "report.html", "encodings", "transfers"])
def test_link_out_of_the_folder_is_refused(plan, tmp_path, victim, name):
    plan = replace(plan, backbones=("tiny-vit",), transfers=1, preset="tiny", steps=1)
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(victim / ("report.html" if path.suffix else "run"))
    for force in (False, True):
        with pytest.raises(UserError, match="leads out of"):
            compare.compare(plan, tmp_path / "out", force=force)
