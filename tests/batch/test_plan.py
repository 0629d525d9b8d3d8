import errno
import json
import os

import pytest

from vitsplice.batch.plan import BATCH, FAILURES, RESULTS, open_batch, run_folder, stored_threads, variants
from vitsplice.datasets import read, write
from vitsplice.errors import OutputExists, PathRejected, UnknownName, UserError, VitspliceError


def test_shards_hold_similar_numbers_of_pairs():
    shards = {}
    for number in range(20_000):
        variant, shard, pair = run_folder("quick", f"pair-{number:07}").split("/")
        assert (variant, pair, len(shard)) == ("quick", f"pair-{number:07}", 3)
        shards.setdefault(shard, []).append(pair)
    assert len(shards) <= 4096
    assert max(map(len, shards.values())) < 25  # 5 on average; of a million pairs, 244


def test_shard_is_the_start_of_the_sha256_of_the_id():
    assert run_folder("quick", "cow") == "quick/beb/cow"  # printf cow | sha256sum


def test_variants_are_named_after_the_given_choices():
    assert list(variants(["tiny"])) == ["tiny"]
    grid = variants(["tiny", "instant"], ["tiny-vit", "tiny-cnn"], [0, 7])
    assert list(grid)[:3] == ["tiny_tiny-vit_seed0", "tiny_tiny-vit_seed7", "tiny_tiny-cnn_seed0"]
    assert len(grid) == 8
    settings = grid["tiny_tiny-cnn_seed7"]
    assert (settings.backbone.name, settings.seed) == ("tiny-cnn", 7)


def test_name_of_a_timm_backbone_becomes_a_folder_name():
    (name,) = variants(["tiny"], ["vit_tiny_patch16_224.augreg_in21k"])
    assert name == "tiny_vit-tiny-patch16-224.augreg-in21k"


def test_variants_of_the_same_name_are_refused():
    with pytest.raises(UserError, match="'tiny_seed1'"):
        variants(["tiny"], seeds=[1, 1])


def test_preset_without_a_folder_name_is_refused(tmp_path):
    (tmp_path / "\u6700.yaml").write_text("backbone: {name: tiny-vit}\nsteps: 0\n")
    with pytest.raises(UserError, match="gives no folder name"):
        variants([str(tmp_path / "\u6700.yaml")])


@pytest.mark.parametrize("name", [BATCH, RESULTS, FAILURES])
def test_preset_named_as_a_file_of_the_batch_is_refused(tmp_path, name):
    preset = tmp_path / f"{name}.yaml"
    preset.write_text("backbone: {name: tiny-vit}\nsteps: 0\n")
    with pytest.raises(UserError, match=f"folder '{name}', but a batch has a file of this name; rename the preset"):
        variants([str(preset)])


def test_unknown_preset_is_refused():
    with pytest.raises(UnknownName):
        variants(["tinny"])


def test_jobs_have_absolute_paths_and_settings_as_json(batch, png):
    jobs = list(batch.jobs())
    assert [job.id for job in jobs] == ["tiny/one", "tiny/two", "tiny/three"]
    assert jobs[0].images == {"structure": str(png[0]), "appearance": str(png[1])}
    assert jobs[0].folder == str(batch.out / run_folder("tiny", "one"))
    assert json.loads(jobs[0].settings)["steps"] == 2


def opened(batch, **changes):
    return open_batch(batch.out, batch.manifest, changes.get("variants", batch.variants), changes.get("threads", 1))


def stored_variants(batch):
    return set(json.loads((batch.out / BATCH).read_text())["variants"])


@pytest.fixture
def begun(batch):
    """A batch whose variant has runs."""
    opened(batch)
    (batch.out / "tiny").mkdir()
    return batch


def test_variants_are_added_to_a_batch(begun):
    batch = begun
    before = (batch.out / BATCH).read_bytes()
    opened(batch)
    assert (batch.out / BATCH).read_bytes() == before
    assert stored_threads(batch.out) == 1
    opened(batch, variants=variants(["tiny"], seeds=[3], steps=2))
    assert stored_variants(batch) == {"tiny", "tiny_seed3"}
    (batch.out / "tiny_seed3").mkdir()
    opened(batch)
    assert stored_variants(batch) == {"tiny", "tiny_seed3"}


def test_variants_that_never_ran_are_removed_from_a_batch(begun):
    opened(begun, variants=variants(["tiny"], seeds=[3]))
    opened(begun, variants=variants(["tiny"], seeds=[4]))
    assert stored_variants(begun) == {"tiny", "tiny_seed4"}


def test_folder_that_cannot_be_listed_is_not_taken_for_one_without_runs(begun, monkeypatch):
    def unavailable(folder):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(folder))

    before = (begun.out / BATCH).read_bytes()
    monkeypatch.setattr(os, "listdir", unavailable)
    for call in (
        lambda: opened(begun, variants=variants(["tiny"], steps=3), threads=2),
        lambda: stored_threads(begun.out),
    ):
        with pytest.raises(VitspliceError, match="cannot list the runs in .*; run the same command again"):
            call()
    assert (begun.out / BATCH).read_bytes() == before


def test_other_settings_are_refused_and_named(begun):
    before = (begun.out / BATCH).read_bytes()
    with pytest.raises(OutputExists, match=r"'tiny' with other settings \(steps: 2, now 3\)"):
        opened(begun, variants=variants(["tiny"], steps=3, overrides=["previews=0", "plots=none"]))
    assert (begun.out / BATCH).read_bytes() == before


def test_settings_and_threads_may_change_before_the_first_run(batch):
    opened(batch)
    changed = variants(["tiny"], steps=3)
    assert stored_threads(batch.out) == 0
    opened(batch, variants=changed, threads=2)
    (batch.out / "tiny").mkdir()
    assert stored_threads(batch.out) == 2
    opened(batch, variants=changed, threads=2)
    with pytest.raises(OutputExists, match="use 2 threads each; with 1, .* threads=2"):
        opened(batch)


def test_another_path_of_the_preset_is_not_another_setting(begun):
    renamed = begun.variants["tiny"].model_copy(update={"preset": "./tiny.yaml"})
    opened(begun, variants={"tiny": renamed})
    with pytest.raises(OutputExists, match=r"other settings \(steps: 2, now 3\)"):
        opened(begun, variants={"tiny": renamed.model_copy(update={"steps": 3})})


def test_weights_file_of_an_unused_fallback_may_appear_and_change(batch, tmp_path):
    file = tmp_path / "gone.pth"
    override = f"with_fallback={{backbones: {{cnn: {{name: tiny-cnn, weights: {file}}}}}}}"
    opened(batch, variants=variants(["tiny"], overrides=[override]))
    (batch.out / "tiny").mkdir()
    stored = (batch.out / BATCH).read_text()
    for content in (b"weights", b"others"):
        file.write_bytes(content)
        opened(batch, variants=variants(["tiny"], overrides=[override]))
        assert (batch.out / BATCH).read_text() == stored


def test_settings_that_a_stored_variant_lacks_are_not_named_as_changed(begun):
    stored = json.loads((begun.out / BATCH).read_text())
    del stored["variants"]["tiny"]["match"]["grid"]
    (begun.out / BATCH).write_text(json.dumps(stored))
    with pytest.raises(OutputExists, match=r"other settings \(steps: 2, now 3\)"):
        opened(begun, variants=variants(["tiny"], steps=3, overrides=["previews=0", "plots=none"]))
    opened(begun)


def test_path_that_is_too_long_holds_no_batch(tmp_path):
    assert stored_threads(tmp_path / ("x" * 300)) == 0


def test_other_number_of_threads_is_refused(begun):
    with pytest.raises(OutputExists, match="use 1 thread each; with 2, .* threads=1"):
        opened(begun, threads=2)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 2, "threads": "1"}', "[" * 100_000])
def test_invalid_batch_file_is_refused(batch, content):
    (batch.out / BATCH).write_text(content)
    with pytest.raises(UserError, match=r"batch\.json is not the file of a batch"):
        opened(batch)


@pytest.mark.parametrize(
    ("content", "writer"),
    [
        ({"format": 1}, "another version of vitsplice"),
        ({"format": 9, "versions": {"vitsplice": "2.0"}}, "vitsplice 2.0"),
    ],
)
def test_other_format_is_refused_with_the_version_that_wrote_it(batch, content, writer):
    (batch.out / BATCH).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"written by {writer} in format {content['format']}; this version reads"):
        opened(batch)


@pytest.mark.parametrize("name", [BATCH, RESULTS, FAILURES, ".stop"])
def test_folder_in_place_of_a_file_is_refused(batch, name):
    (batch.out / name).mkdir()
    with pytest.raises(PathRejected, match="is not a file"):
        opened(batch)


def test_runs_without_a_batch_file_are_refused(batch):
    (batch.out / "tiny").mkdir()
    with pytest.raises(OutputExists, match=r"no batch\.json"):
        opened(batch)


@pytest.mark.parametrize("name", [RESULTS, FAILURES])
def test_a_log_without_a_batch_file_is_refused(batch, name):
    (batch.out / name).touch()
    with pytest.raises(OutputExists, match=rf"holds {name} but no batch\.json"):
        opened(batch)


@pytest.mark.parametrize("name", [RESULTS, FAILURES])
def test_manifest_in_place_of_a_log_is_refused(batch, tmp_path, name):
    opened(batch)
    write(batch.out / name, read(batch.manifest))
    (tmp_path / "link.jsonl").symlink_to(batch.out / name)
    for manifest in (batch.out / name, tmp_path / "link.jsonl"):
        with pytest.raises(UserError, match="is an output file in .* and would be replaced or removed"):
            open_batch(batch.out, manifest, batch.variants, 1)
    assert len(list(read(batch.out / name))) == 3
