import copy
import json
import os
import shutil
import signal
from dataclasses import replace

import av
import numpy as np
import pytest
from clips import audio_packets, read_clip, write_clip
from clips import panned as panned_frames
from PIL import Image
from tiny_models import write_tiny_model

from vitsplice import splice
from vitsplice.engine.backbones import BackboneCache
from vitsplice.errors import CheckpointRejected, ImageError, OutputExists, UserError, VitspliceError
from vitsplice.images import encode_png, read, to_pil
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.progress import ProgressReporter
from vitsplice.video import conversion, convert, encoding
from vitsplice.video.colours import RGB, as_tensor
from vitsplice.video.convert import splice_video
from vitsplice.video.destination import FileDestination
from vitsplice.video.source import open_source
from vitsplice.video.transfer import load_transfer

pytestmark = pytest.mark.slow

MEASURED = ["backbones.cnn.name=tiny-cnn", "match.grid=6"]
"""Overrides with metrics."""

TINY = {"backbone": "tiny-vit", "overrides": [*MEASURED, "metrics=none"]}
OPTIMISED = (
    "backbone.name=tiny-vit",
    "start=match",
    "match.grid=6",
    "generator={name: pyramid, options: {levels: 2}}",
    "views={structure: {crop: [0.9, 0.9], shape: image}, appearance: {crop: [0.9, 0.9]}}",
    "terms={structure: {loss: structure, weight: 10}}",
    "steps=2",
)
STEPS = {"preset": "tiny", "overrides": OPTIMISED, "backbone": None}


def panned(count, height=48, width=72, seed=0):
    """Return small frames of a camera that moves right."""
    return panned_frames(count, height, width, seed=seed)


@pytest.fixture(scope="module", autouse=True)
def _shared_networks_without_metrics_and_plots():
    """Load each network once; measure and draw nothing: metrics and the plot of the report have tests of their own."""
    networks = BackboneCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitsplice.video.convert.BackboneLoader", lambda: networks)
        patch.setattr("vitsplice.video.measurement.select_run_metrics", lambda known: [])
        patch.setattr("vitsplice.support.plots._save", lambda *_, **__: b"<svg></svg>")
        yield


@pytest.fixture(scope="module")
def appearance(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "appearance.png"
    path.write_bytes(encode_png(as_tensor(panned(1, seed=5)[0])))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", panned(4), audio=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, clip, appearance):
    """The finished video of `clip`, which tests leave unchanged."""
    return transfer(clip, appearance, tmp_path_factory.mktemp("whole") / "out.mp4")


@pytest.fixture(scope="module")
def first_segment(tmp_path_factory, clip, appearance):
    """Folder of the records of out.mp4, the video of `clip`, after a stop in the second segment."""
    out = tmp_path_factory.mktemp("stopped") / "out.mp4"
    assert transfer(clip, appearance, out, progress=stops_after_a_segment()) is None
    return out.with_name("out-video")


@pytest.fixture(scope="module")
def frames(tmp_path_factory, clip, appearance):
    """The finished frames of `clip`, which tests leave unchanged."""
    return transfer(clip, appearance, tmp_path_factory.mktemp("frames") / "frames").path


@pytest.fixture(scope="module")
def first_frames(tmp_path_factory, clip, appearance):
    """Folder that has frames and frames-video, the frames of `clip` after a stop in the second segment."""
    folder = tmp_path_factory.mktemp("stopped")
    assert transfer(clip, appearance, folder / "frames", progress=stops_after_a_segment()) is None
    return folder


@pytest.fixture
def stopped(first_segment, tmp_path):
    """Path of a video, out.mp4, that was stopped in the second segment."""
    shutil.copytree(first_segment, tmp_path / "out-video")
    return tmp_path / "out.mp4"


def transfer(clip, appearance, out, **settings):
    return splice_video(clip, appearance, out, **{"key_every": 2, **TINY, **settings})


def in_8_bits(result):
    """Image of a result, rounded as in a file."""
    return to_pil(result.pixels)


def stops_after_a_segment():
    """Progress reporter that stops the work in the second segment."""
    return ProgressReporter(stopped=iter([False] * 3 + [True] * 9).__next__)


def test_the_output_has_size_times_and_audio_of_the_input(clip, whole):
    frames, times = read_clip(whole.path)
    assert len(frames) == whole.record["frames"] == 4
    assert frames[0].shape == (48, 72, 3)
    assert times == pytest.approx(read_clip(clip)[1], abs=1e-3)
    assert audio_packets(whole.path) == audio_packets(clip)
    assert sorted(path.name for path in whole.folder.iterdir()) == [
        "flicker.csv", "plan.json", "preview.png", "report.html", "video.json",
    ]  # fmt: skip


def test_the_report_plays_the_first_frames_and_states_the_flicker(whole):
    page = (whole.folder / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * 4 + 2
    assert "warping error" in page
    assert json.loads((whole.folder / "video.json").read_text())["inputs"]["video"]


def test_frames_on_their_own_are_those_of_instant_and_flicker_more(tmp_path, clip, appearance, whole):
    single = transfer(clip, appearance, tmp_path / "out", temporal=False)
    for frame in list(open_source(clip).frames())[:2]:
        expected = splice(frame.tensor(), appearance, "instant", **TINY, seed=0)
        assert np.array_equal(
            read(tmp_path / "out" / f"{frame.index:06d}.png").pixels, read(in_8_bits(expected)).pixels
        )
    errors = [result.record["warping_error"] for result in (whole, single)]
    assert errors[0]["input"] == errors[1]["input"]
    assert errors[0]["output"] < errors[1]["output"]


def test_each_patch_is_matched_with_those_of_several_appearance_images(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mp4", panned(2))
    images, weights = [appearance, tmp_path / "other.png"], (1, 2)
    images[1].write_bytes(encode_png(as_tensor(panned(1, 48, 48, seed=8)[0])))
    result = transfer(clip, images, tmp_path / "out", appearance_weights=weights)
    first = next(open_source(clip).frames()).tensor()
    expected = splice(first, images, "instant", appearance_weights=weights, **TINY)
    assert np.array_equal(read(tmp_path / "out" / "000000.png").pixels, read(in_8_bits(expected)).pixels)
    assert list(result.record["inputs"])[1:4] == ["appearance image", "appearance image 2", "appearance weights"]
    assert "the appearance of appearance.png and other.png" in (result.folder / "report.html").read_text()


def load_with(**changes):
    """Return a function like `load_transfer` that changes the ``info`` of the backbones."""

    def load(*arguments):
        loaded = load_transfer(*arguments)
        for name, backbone in loaded.backbones.items():
            loaded.backbones[name] = copy.copy(backbone)
            loaded.backbones[name].info = replace(backbone.info, **changes)
        return loaded

    return load


def test_a_missing_digest_of_the_weights_is_recorded_as_an_empty_text(tmp_path, appearance, monkeypatch):
    monkeypatch.setattr(convert, "load_transfer", load_with(sha256=""))
    result = transfer(write_clip(tmp_path / "clip.mp4", panned(1)), appearance, tmp_path / "out")
    assert result.record["inputs"]["weights"] == ""


def test_output_of_other_features_of_the_same_weights_is_not_finished(tmp_path, appearance, monkeypatch):
    clip, out = write_clip(tmp_path / "clip.mp4", panned(1)), tmp_path / "out"
    first = transfer(clip, appearance, out).record["inputs"]
    monkeypatch.setattr(convert, "load_transfer", load_with(mean=(0.1, 0.2, 0.3)))
    with pytest.raises(OutputExists):
        transfer(clip, appearance, out)
    other = transfer(clip, appearance, out, force=True).record["inputs"]
    assert {name for name in first if first[name] != other[name]} == {"features", "features of cnn"}


@pytest.fixture(scope="module")
def optimised(tmp_path_factory, clip, appearance):
    """The finished video of `clip` by a preset that takes steps."""
    return transfer(clip, appearance, tmp_path_factory.mktemp("optimised") / "out.mp4", **STEPS)


@pytest.mark.parametrize(("name", "settings"), [("whole", {}), ("optimised", STEPS)])
def test_work_that_was_stopped_resumes_to_the_same_bytes(tmp_path, request, clip, appearance, name, settings):
    expected = request.getfixturevalue(name)
    progress = stops_after_a_segment()
    assert transfer(clip, appearance, tmp_path / "part.mp4", progress=progress, **settings) is None
    assert not (tmp_path / "part.mp4").exists()
    notes = []
    part = transfer(clip, appearance, tmp_path / "part.mp4", progress=ProgressReporter(note=notes.append), **settings)
    preview = tmp_path / "part-video" / "preview.png"
    assert notes == ["resumes at frame 2", f"preview of the latest frame: {preview}"]
    assert part.path.read_bytes() == expected.path.read_bytes()
    assert part.record["warping_error"] == expected.record["warping_error"]
    assert (part.folder / "flicker.csv").read_bytes() == (expected.folder / "flicker.csv").read_bytes()


def test_a_segment_of_a_killed_process_without_its_state_is_computed_again(
    tmp_path, clip, appearance, whole, monkeypatch
):
    add = FileDestination.add

    def killed(self, folder, number, frames, outputs):
        if number == 1:
            add(self, folder, number, frames, outputs)
            raise KeyboardInterrupt
        return add(self, folder, number, frames, outputs)

    with monkeypatch.context() as patch:
        patch.setattr(FileDestination, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer(clip, appearance, tmp_path / "part.mp4")
    part = transfer(clip, appearance, tmp_path / "part.mp4")
    assert part.path.read_bytes() == whole.path.read_bytes()


def test_finished_work_is_not_repeated(clip, appearance, whole, monkeypatch):
    monkeypatch.setattr(conversion, "propagated", None)  # which computes frames
    notes = []
    again = transfer(clip, appearance, whole.path, progress=ProgressReporter(note=notes.append))
    assert again.record == whole.record
    assert notes == [f"{whole.path} is finished already"]


def test_a_finished_output_that_cannot_be_read_is_reported(clip, appearance, whole, monkeypatch):
    def unreadable(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(convert, "file_sha256", unreadable)
    with pytest.raises(UserError, match=r"cannot read .*out\.mp4: Permission denied"):
        transfer(clip, appearance, whole.path)


def test_parts_that_could_not_be_removed_are_removed_when_the_finished_video_is_requested_again(
    tmp_path, appearance, monkeypatch
):
    def fails(folder):
        raise OSError(16, "Device or resource busy")

    clip = write_clip(tmp_path / "clip.mp4", panned(2))
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "remove_parts", fails)
        result = transfer(clip, appearance, tmp_path / "out.mp4")
    with FolderLock(result.folder):
        assert transfer(clip, appearance, tmp_path / "out.mp4").record == result.record
    assert (result.folder / "segments").is_dir()
    assert transfer(clip, appearance, tmp_path / "out.mp4").record == result.record
    assert not (result.folder / "segments").exists()


def contents(folder):
    """Content of the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_finished_frames_that_were_removed_are_computed_again(tmp_path, clip, appearance, frames):
    shutil.copytree(frames.with_name("frames-video"), tmp_path / "frames-video")
    notes = []
    again = transfer(clip, appearance, tmp_path / "frames", progress=ProgressReporter(note=notes.append))
    assert contents(again.path) == contents(frames)
    assert not any("finished already" in note for note in notes)


def test_frames_of_a_finished_segment_that_were_removed_are_computed_again(
    tmp_path, clip, appearance, frames, first_frames
):
    shutil.copytree(first_frames, tmp_path, dirs_exist_ok=True)
    (tmp_path / "frames" / "000001.png").unlink()
    notes = []
    again = transfer(clip, appearance, tmp_path / "frames", progress=ProgressReporter(note=notes.append))
    assert contents(again.path) == contents(frames)
    assert "finished frames are missing or damaged; starting again" in notes


@pytest.mark.parametrize("part", ["excerpt", "segments"])
def test_work_with_missing_parts_starts_again(stopped, clip, appearance, whole, part):
    shutil.rmtree(stopped.with_name("out-video") / part)
    notes = []
    again = transfer(clip, appearance, stopped, progress=ProgressReporter(note=notes.append))
    assert notes[0] == "finished frames are missing or damaged; starting again"
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_work_that_started_again_resumes_from_its_own_checkpoint(tmp_path, appearance):
    clip, out, notes = write_clip(tmp_path / "clip.mp4", panned(6)), tmp_path / "frames", []

    def stopped_at(frame):
        progress = ProgressReporter(stopped=iter([False] * frame + [True] * 9).__next__, note=notes.append)
        assert transfer(clip, appearance, out, progress=progress) is None

    stopped_at(5)
    shutil.rmtree(out)
    stopped_at(3)
    stopped_at(1)
    assert [note for note in notes if not note.startswith("preview")] == [
        "finished frames are missing or damaged; starting again",
        "resumes at frame 2",
    ]


def test_a_file_put_at_the_output_of_unfinished_work_is_replaced_only_with_force(stopped, clip, appearance, whole):
    stopped.write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"out\.mp4 already exists"):
        transfer(clip, appearance, stopped)
    assert stopped.read_bytes() == b"mine"
    assert transfer(clip, appearance, stopped, force=True).path.read_bytes() == whole.path.read_bytes()


def test_a_file_that_appears_during_the_work_is_replaced_only_with_force(tmp_path, clip, appearance, whole):
    out = tmp_path / "out.mp4"
    progress = ProgressReporter(part=lambda *_: out.write_bytes(b"mine"))
    with pytest.raises(OutputExists, match=r"out\.mp4 already exists"):
        transfer(clip, appearance, out, progress=progress)
    assert out.read_bytes() == b"mine"
    notes = []
    again = transfer(clip, appearance, out, force=True, progress=ProgressReporter(note=notes.append))
    assert notes[0] == "resumes at frame 4"
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_a_file_put_at_an_output_that_could_not_be_written_is_replaced_only_with_force(
    tmp_path, clip, appearance, monkeypatch
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", full)
        with pytest.raises(VitspliceError, match=r"cannot write .*out\.mp4: No space left on device"):
            transfer(clip, appearance, out)
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"out\.mp4 already exists"):
        transfer(clip, appearance, out)
    assert out.read_bytes() == b"mine"


def test_work_that_replaces_an_output_resumes_without_force(tmp_path, clip, appearance, whole):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    assert transfer(clip, appearance, out, force=True, progress=stops_after_a_segment()) is None
    assert transfer(clip, appearance, out).path.read_bytes() == whole.path.read_bytes()


def test_work_that_was_killed_after_its_output_was_written_resumes_without_force(
    tmp_path, clip, appearance, whole, monkeypatch
):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "report", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer(clip, appearance, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").is_file()
    assert transfer(clip, appearance, tmp_path / "out.mp4").record["output_sha256"] == whole.record["output_sha256"]


def test_work_that_is_stopped_before_its_first_segment_leaves_nothing(tmp_path, clip, appearance):
    assert transfer(clip, appearance, tmp_path / "out.mp4", progress=ProgressReporter(stopped=lambda: True)) is None
    assert not list(tmp_path.iterdir())


def test_finished_video_that_was_removed_is_computed_again(tmp_path, appearance):
    clip, out = write_clip(tmp_path / "clip.mp4", panned(2)), tmp_path / "out.mp4"
    transfer(clip, appearance, out)
    video = out.read_bytes()
    out.unlink()
    transfer(clip, appearance, out)
    assert out.read_bytes() == video


def test_the_frames_of_the_input_are_refused_as_folder_of_the_records(tmp_path, appearance):
    (tmp_path / "walk-video").mkdir()
    (tmp_path / "walk-video" / "000000.png").write_bytes(appearance.read_bytes())
    with pytest.raises(UserError, match="walk-video is the input; choose another output"):
        transfer(tmp_path / "walk-video", appearance, tmp_path / "walk.mp4")


def test_another_output_is_replaced_only_with_force(tmp_path, clip, appearance, whole):
    shutil.copytree(whole.path.parent, tmp_path, dirs_exist_ok=True)
    with pytest.raises(OutputExists, match=r"out\.mp4 already exists"):
        transfer(clip, appearance, tmp_path / "out.mp4", key_every=4)
    assert transfer(clip, appearance, tmp_path / "out.mp4", key_every=4, force=True).record["key_every"] == 4
    with pytest.raises(OutputExists, match=r"out-video holds the records of out\.mp4; choose a name other than 'out'"):
        transfer(clip, appearance, tmp_path / "out.webm")


def test_a_finished_output_that_was_replaced_is_only_overwritten_with_force(tmp_path, clip, appearance, whole):
    shutil.copytree(whole.folder, tmp_path / "out-video")
    (tmp_path / "out.mp4").write_bytes(b"mine")
    with pytest.raises(OutputExists):
        transfer(clip, appearance, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"mine"
    again = transfer(clip, appearance, tmp_path / "out.mp4", force=True)
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_frames_of_a_longer_video_are_removed_with_force_and_other_files_stay(tmp_path, appearance, frames):
    shutil.copytree(frames.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    short = write_clip(tmp_path / "short.mp4", panned(2))
    transfer(short, appearance, tmp_path / "frames", force=True)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["000000.png", "000001.png", "notes.txt"]


def test_numbered_files_that_are_no_frames_of_an_earlier_output_stay(tmp_path, clip, appearance, first_frames):
    shutil.copytree(first_frames, tmp_path, dirs_exist_ok=True)
    out = tmp_path / "frames"
    (out / "000005.png").write_bytes(b"mine")
    transfer(clip, appearance, out)
    assert (out / "000005.png").read_bytes() == b"mine"


def test_frames_of_a_folder_stay_whose_records_are_of_another_output(tmp_path, appearance, whole):
    shutil.copytree(whole.folder, tmp_path / "out-video")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000004.png").write_bytes(b"mine")
    transfer(write_clip(tmp_path / "clip.mp4", panned(1)), appearance, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "000004.png").read_bytes() == b"mine"


def test_frames_of_a_longer_video_are_removed_after_a_stop(tmp_path, appearance, frames):
    shutil.copytree(frames.parent, tmp_path, dirs_exist_ok=True)
    clip, out = write_clip(tmp_path / "short.mp4", panned(3)), tmp_path / "frames"
    stops_after_two_frames = ProgressReporter(stopped=iter([False] * 2 + [True] * 9).__next__)
    assert transfer(clip, appearance, out, key_every=1, force=True, progress=stops_after_two_frames) is None
    transfer(clip, appearance, out, key_every=1)
    assert len(os.listdir(out)) == 3


def test_frames_of_unfinished_longer_work_are_removed(tmp_path, appearance, first_frames):
    shutil.copytree(first_frames, tmp_path, dirs_exist_ok=True)
    out = tmp_path / "frames"
    (out / "000003.png").write_bytes(b"mine")
    transfer(write_clip(tmp_path / "short.mp4", panned(1)), appearance, out, force=True)
    assert sorted(os.listdir(out)) == ["000000.png", "000003.png"]


@pytest.mark.parametrize("force", [False, True])
def test_the_input_is_refused_as_output(tmp_path, appearance, force):
    (tmp_path / "frames").mkdir()
    for number in range(2):
        (tmp_path / "frames" / f"{number:06d}.png").write_bytes(appearance.read_bytes())
    clip = write_clip(tmp_path / "clip.mp4", panned(1))
    for source in (tmp_path / "frames", clip):
        with pytest.raises(UserError, match="is the input; choose another output"):
            transfer(source, appearance, source, force=force)
    assert len(list((tmp_path / "frames").iterdir())) == 2


def test_a_folder_that_contains_the_appearance_image_is_refused_as_output(tmp_path, clip, appearance):
    (tmp_path / "frames").mkdir()
    image = tmp_path / "frames" / "000000.png"
    image.write_bytes(appearance.read_bytes())
    with pytest.raises(UserError, match=r"frames contains the input .*000000\.png; choose another output"):
        transfer(clip, image, tmp_path / "frames", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "frames")
    with pytest.raises(UserError, match="link contains the input"):
        transfer(clip, image, tmp_path / "link", force=True)
    assert image.read_bytes() == appearance.read_bytes()


def test_a_folder_that_contains_frames_of_the_input_is_refused_as_output(tmp_path, appearance):
    (tmp_path / "frames").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "frames" / "000000.png").write_bytes(appearance.read_bytes())
    (tmp_path / "links" / "0.png").symlink_to(tmp_path / "frames" / "000000.png")
    with pytest.raises(UserError, match=r"frames contains the input .*links/0\.png; choose another output"):
        transfer(tmp_path / "links", appearance, tmp_path / "frames", force=True)


@pytest.mark.parametrize("name", ["preview.png", "excerpt/00000-after.png"])
def test_an_appearance_image_within_the_folder_of_the_records_is_refused(tmp_path, clip, appearance, name):
    image = tmp_path / "out-video" / name
    image.parent.mkdir(parents=True)
    image.write_bytes(appearance.read_bytes())
    with pytest.raises(UserError, match=f"out-video contains the input .*{name}; choose another output"):
        transfer(clip, image, tmp_path / "out.mp4", force=True)
    assert image.read_bytes() == appearance.read_bytes()


def test_a_video_below_the_folder_of_the_records_is_refused(tmp_path, clip, appearance):
    (tmp_path / "out-video" / "segments").mkdir(parents=True)
    video = shutil.copy(clip, tmp_path / "out-video" / "segments" / "joined.mp4")
    with pytest.raises(UserError, match=r"out-video contains the input .*joined\.mp4; choose another output"):
        transfer(video, appearance, tmp_path / "out.mp4", force=True)
    assert video.is_file()


def test_inputs_in_folders_of_an_output_folder_are_allowed(tmp_path, clip, appearance):
    (tmp_path / "in").mkdir()
    video, image = (shutil.copy(file, tmp_path / "in" / file.name) for file in (clip, appearance))
    progress = ProgressReporter(stopped=lambda: True)
    assert transfer(video, image, tmp_path, force=True, progress=progress) is None


def test_records_of_folders_whose_names_differ_after_a_dot_are_in_folders_of_their_own(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mp4", panned(1))
    for name in ("take.1", "take.2"):
        (tmp_path / name).mkdir()
        assert transfer(clip, appearance, tmp_path / name).folder == tmp_path / f"{name}-video"


def test_metrics_and_report_are_omitted_on_request(tmp_path, clip, appearance, whole, monkeypatch):
    shutil.copytree(whole.path.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(conversion, "frame_metrics", None)
    settings = {"overrides": [*TINY["overrides"], "plots=none"], "force": True}
    result = transfer(clip, appearance, tmp_path / "out.mp4", **settings)
    assert result.record["metrics"] == {}
    assert not (result.folder / "report.html").exists()
    notes = []
    progress = ProgressReporter(note=notes.append)
    transfer(clip, appearance, tmp_path / "out.mp4", progress=progress, overrides=MEASURED)
    end = "is finished already, without metrics and report; computing it again with force adds what is missing"
    assert notes == [f"{tmp_path / 'out.mp4'} {end}"]


def test_the_current_folder_may_be_the_output(tmp_path, appearance, monkeypatch):
    (tmp_path / "frames").mkdir()
    monkeypatch.chdir(tmp_path / "frames")
    clip = write_clip(tmp_path / "clip.mp4", panned(1))
    assert transfer(clip, appearance, ".").folder == tmp_path / "frames-video"
    assert (tmp_path / "frames" / "000000.png").is_file()


def test_the_folder_of_the_records_is_beside_the_output_also_behind_a_link(tmp_path, appearance):
    (tmp_path / "frames" / "empty").mkdir(parents=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "link").symlink_to(tmp_path / "frames" / "empty")
    clip = write_clip(tmp_path / "clip.mp4", panned(1))
    result = transfer(clip, appearance, tmp_path / "links" / "link" / "..", force=True)
    assert result.folder == tmp_path / "frames-video"
    assert (tmp_path / "frames" / "000000.png").is_file()


def test_a_video_in_rgb_has_an_output_that_players_support(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mkv", panned(2), codec="libx264rgb", pix_fmt="rgb24")
    result = transfer(clip, appearance, tmp_path / "out.mp4")
    with av.open(str(result.path)) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "yuv420p"
    assert frame.colorspace != RGB


def test_hidden_files_and_folders_are_no_frames(tmp_path, appearance):
    (tmp_path / "in" / "folder.png").mkdir(parents=True)
    (tmp_path / "in" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "in" / "0.png").write_bytes(appearance.read_bytes())
    assert transfer(tmp_path / "in", appearance, tmp_path / "out").record["frames"] == 1


def test_cuts_are_recorded_and_no_frame_is_lost_at_them(tmp_path, appearance):
    clip = write_clip(tmp_path / "cut.mp4", [*panned(2), *panned(2, seed=9)])
    result = transfer(clip, appearance, tmp_path / "out")
    assert result.record["cuts"] == [2]
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("generator", ["tiny-tint", "splicenet"])
def test_a_model_folder_may_be_the_preset(tmp_path, clip, appearance, generator):
    options = {} if generator == "tiny-tint" else {"width": 0.05}
    write_tiny_model(tmp_path / "model", generator=generator, options=options)
    transfer(clip, appearance, tmp_path / "out", preset=tmp_path / "model", backbone=None, overrides=())
    first = next(open_source(clip).frames()).tensor()
    expected = splice(first, appearance, tmp_path / "model", overrides=["metrics=none"])
    assert np.array_equal(read(tmp_path / "out" / "000000.png").pixels, read(in_8_bits(expected)).pixels)


def test_frames_are_resized(tmp_path, clip, appearance):
    result = transfer(clip, appearance, tmp_path / "out.mp4", size=32)
    assert read_clip(result.path)[0][0].shape == (32, 48, 3)


def test_resized_frames_of_a_file_have_even_sides(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mp4", panned(2, 64, 100))
    result = transfer(clip, appearance, tmp_path / "out.mp4", size=25)
    with av.open(str(result.path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.height, frame.width, frame.format.name) == (26, 40, "yuv420p")
    folder = transfer(clip, appearance, tmp_path / "frames", size=25).path
    assert np.asarray(Image.open(folder / "000000.png")).shape == (25, 39, 3)


def test_frames_of_odd_sides_keep_them_without_a_size(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mkv", panned(2, 64, 95), pix_fmt="yuv444p")
    assert read_clip(transfer(clip, appearance, tmp_path / "out.mp4").path)[0][0].shape == (64, 95, 3)


def test_the_encoder_is_part_of_the_plan(stopped, clip, appearance, monkeypatch):
    monkeypatch.setitem(encoding.ENCODERS, ".mp4", {"mpeg4": encoding.MPEG4_ENCODERS["mpeg4"]})
    with pytest.raises(OutputExists, match="holds another video: it differs in encoder"):
        transfer(clip, appearance, stopped)


def test_work_whose_checkpoint_is_damaged_starts_again_once_it_is_removed(stopped, clip, appearance, whole):
    checkpoints = stopped.with_name("out-video") / "checkpoint"
    (checkpoint,) = checkpoints.glob("*.json")
    checkpoint.write_text("{")
    for force in (False, True):
        with pytest.raises(CheckpointRejected, match=r"remove .*out-video/checkpoint/step-\* to start again"):
            transfer(clip, appearance, stopped, force=force)
    for part in checkpoints.glob("step-*"):
        part.unlink()
    again = transfer(clip, appearance, stopped)
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_force_resumes_work_whose_checkpoint_is_valid(stopped, clip, appearance, whole):
    notes = []
    again = transfer(clip, appearance, stopped, force=True, progress=ProgressReporter(note=notes.append))
    assert notes[0] == "resumes at frame 2"
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_frames_before_the_next_segment_are_not_resized_again(tmp_path, clip, appearance, monkeypatch):
    progress = stops_after_a_segment()
    assert transfer(clip, appearance, tmp_path / "out.mp4", progress=progress, size=32) is None
    resized, resize = [], conversion.Conversion._resized
    monkeypatch.setattr(
        conversion.Conversion, "_resized", lambda self, frame: resized.append(frame.index) or resize(self, frame)
    )
    transfer(clip, appearance, tmp_path / "out.mp4", size=32)
    assert resized == [2, 3]


def test_a_record_without_the_number_of_frames_is_not_finished(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mp4", panned(2))
    record = transfer(clip, appearance, tmp_path / "out").folder / "video.json"
    assert {"av", "opencv"} < json.loads(record.read_text())["versions"].keys()
    record.write_text("{}")
    with pytest.raises(OutputExists):
        transfer(clip, appearance, tmp_path / "out")


def test_longer_audio_neither_changes_the_measured_frames_nor_has_a_note(tmp_path, appearance):
    clip = write_clip(tmp_path / "clip.mkv", panned(8), audio=True, audio_seconds=2)
    measured = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "frame_metrics", lambda samples, *others: measured.extend(samples) or {})
        result = transfer(clip, appearance, tmp_path / "out", overrides=MEASURED, key_every=4)
    assert [number for number, _, _ in measured] == [0, 1, 3, 4, 6, 7]  # spread over the 8 frames
    assert result.record["notes"] == ["a folder of images has no audio"]  # and none on the duration


def test_a_rotated_video_of_one_frame_is_upright_and_has_no_warping_error(tmp_path, appearance):
    clip = write_clip(tmp_path / "one.mp4", panned(1), rotation=90)
    result = transfer(clip, appearance, tmp_path / "out.mp4")
    assert [frame.shape for frame in read_clip(result.path)[0]] == [(72, 48, 3)]
    assert result.record["warping_error"] == {"input": None, "output": None}


def test_key_every_may_be_an_integer_of_numpy(clip, appearance, whole):
    assert transfer(clip, appearance, whole.path, key_every=np.int64(2)).record == whole.record


def test_arguments_that_cannot_be_used_are_refused_before_the_work(tmp_path, clip, appearance):
    with pytest.raises(UserError, match="key_every=0 is not allowed; it must be an integer from 1 to 120"):
        transfer(clip, appearance, tmp_path / "out.mp4", key_every=0)
    with pytest.raises(UserError, match=r"key_every=2\.5 is not allowed; it must be an integer from 1 to 120"):
        transfer(clip, appearance, tmp_path / "out.mp4", key_every=2.5)
    with pytest.raises(UserError, match="videos require a preset with a warm start or a model"):
        transfer(clip, appearance, tmp_path / "out.mp4", preset="tiny", overrides=())
    write_tiny_model(tmp_path / "model")
    with pytest.raises(UserError, match="a trained model takes one appearance image, not 2"):
        transfer(clip, [appearance] * 2, tmp_path / "out.mp4", preset=tmp_path / "model", backbone=None, overrides=())
    with pytest.raises(UserError, match="/ cannot be the output; give a video file such as out.mp4, or a folder"):
        transfer(clip, appearance, "/")
    with pytest.raises(UserError, match="folder .*gone does not exist"):
        transfer(clip, appearance, tmp_path / "gone" / "out.mp4")
    with pytest.raises(UserError, match="xxx-video has more than 255 bytes; choose a shorter one"):
        transfer(clip, appearance, tmp_path / f"{'x' * 250}.mp4")
    with pytest.raises(ImageError):
        transfer(clip, tmp_path / "gone.png", tmp_path / "out.mp4")
    assert not (tmp_path / "out-video").exists()


@pytest.mark.parametrize("out", ["out\0.mp4", "o\0ut", "\0/..", "out.mp4\0"])
def test_an_output_with_a_nul_is_refused(clip, appearance, out):
    with pytest.raises(UserError, match="has a NUL character, which no file name can have; choose another name"):
        transfer(clip, appearance, out)


def test_an_input_with_a_nul_is_refused(tmp_path, clip, appearance):
    with pytest.raises(VitspliceError, match=r"\\x00"):
        transfer(clip, "a\0.png", tmp_path / "out.mp4")
    with pytest.raises(VitspliceError, match=r"\\x00"):
        transfer(clip, appearance, tmp_path / "out.mp4", appearance_mask="a\0.png")


@pytest.mark.parametrize(
    ("images", "preset", "message"),
    [(1, "tiny", "videos require a preset"), (2, "model", "a trained model takes one appearance image")],
)
def test_a_preset_that_does_not_fit_is_refused_before_the_backbone_is_loaded(
    tmp_path, clip, appearance, monkeypatch, images, preset, message
):
    write_tiny_model(tmp_path / "model")
    monkeypatch.setattr("vitsplice.video.transfer.load_settings", None)
    path = tmp_path / "model" if preset == "model" else preset
    with pytest.raises(UserError, match=message):
        transfer(clip, [appearance] * images, tmp_path / "out.mp4", preset=path, backbone=None, overrides=())


def test_a_video_that_is_damaged_at_its_end_keeps_its_finished_segments(tmp_path, clip, appearance, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("vitsplice.video.source._check_frame", refuse_from(3))
        with pytest.raises(ImageError, match="frame 3"):
            transfer(clip, appearance, tmp_path / "out.mp4")
    assert os.listdir(tmp_path / "out-video" / "segments")
    assert transfer(clip, appearance, tmp_path / "out.mp4").record["frames"] == 4


def refuse_from(index):
    def check(name, pixels, info):
        if name.startswith(f"frame {index} "):
            raise ImageError(name)

    return check


def test_records_of_other_work_are_replaced_only_with_force(tmp_path, clip, appearance, first_segment):
    shutil.copytree(first_segment, tmp_path / "b-video")
    with pytest.raises(OutputExists, match=r"holds the records of .*; choose a name other than"):
        transfer(clip, appearance, tmp_path / "b.mp4")
    plan = tmp_path / "b-video" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"output": "b.mp4"}))
    with pytest.raises(OutputExists, match=r"holds another video: it differs in inputs \(settings\)"):
        transfer(clip, appearance, tmp_path / "b.mp4", seed=1)
    other = transfer(clip, appearance, tmp_path / "b.mp4", seed=1, force=True)
    assert other.record["frames"] == 4


@pytest.mark.kill
def test_resume_after_sigkill_gives_identical_bytes(processes, tmp_path, clip, appearance, whole):
    """The process is killed while it writes the second segment, before the rename."""
    small = ("--backbone", "tiny-vit", *(f"--set={setting}" for setting in TINY["overrides"]), "--key-every", 2)
    words = ["video", clip, appearance, "-o", tmp_path / "part.mp4", *small]
    assert processes.run(words, tmp_path, "segments/00001").code == -signal.SIGKILL
    notes = []
    part = transfer(clip, appearance, tmp_path / "part.mp4", progress=ProgressReporter(note=notes.append))
    assert notes[0] == "resumes at frame 2"
    assert part.path.read_bytes() == whole.path.read_bytes()
