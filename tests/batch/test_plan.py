import json

import pytest

from vitsplice.batch.plan import BATCH, folder, plan, threads_of, variants
from vitsplice.errors import OutputExists, PathRejected, UnknownName, UserError


def test_a_million_pairs_spread_over_folders_of_some_hundreds():
    shards = {}
    for number in range(20_000):
        variant, shard, pair = folder("quick", f"pair-{number:07}").split("/")
        assert (variant, pair, len(shard)) == ("quick", f"pair-{number:07}", 3)
        shards.setdefault(shard, []).append(pair)
    assert len(shards) <= 4096
    assert max(map(len, shards.values())) < 25  # of 5 on average; a million are fifty times as many


def test_the_place_of_a_pair_is_the_sha256_of_its_id():
    assert folder("quick", "cow") == "quick/beb/cow"  # printf cow | sha256sum


def test_variants_are_named_after_what_was_given():
    assert [one.name for one in variants(["tiny"])] == ["tiny"]
    grid = variants(["tiny", "instant"], ["tiny-vit", "tiny-cnn"], [0, 7])
    assert [one.name for one in grid][:3] == ["tiny_tiny-vit_seed0", "tiny_tiny-vit_seed7", "tiny_tiny-cnn_seed0"]
    assert len({one.name for one in grid}) == 8
    assert (grid[3].settings.backbone.name, grid[3].settings.seed) == ("tiny-cnn", 7)


def test_a_backbone_of_any_name_names_a_folder(tmp_path):
    (one,) = variants(["tiny"], ["vit_tiny_patch16_224.augreg_in21k"])
    assert one.name == "tiny_vit-tiny-patch16-224.augreg-in21k"


def test_two_variants_of_one_name_are_refused():
    with pytest.raises(UserError, match="'tiny_seed1'"):
        variants(["tiny"], seeds=[1, 1])


def test_a_preset_that_is_none_is_refused():
    with pytest.raises(UnknownName):
        variants(["tinny"])


def test_jobs_are_plain_and_their_paths_absolute(batch, png):
    jobs = list(batch.jobs())
    assert [job.id for job in jobs] == ["tiny/one", "tiny/two", "tiny/three"]
    assert jobs[0].images == {"structure": str(png[0]), "appearance": str(png[1])}
    assert jobs[0].folder == str(batch.out / folder("tiny", "one"))
    assert json.loads(jobs[0].settings)["steps"] == 2


def begun(batch, **changes):
    return plan(batch.out, batch.manifest, changes.get("variants", batch.variants), changes.get("threads", 1))


def test_the_same_again_goes_on_and_another_variant_comes_beside(batch):
    begun(batch)
    before = (batch.out / BATCH).read_bytes()
    begun(batch)
    assert (batch.out / BATCH).read_bytes() == before
    assert threads_of(batch.out) == 1
    begun(batch, variants=variants(["tiny"], seeds=[3], steps=2))
    assert set(json.loads((batch.out / BATCH).read_text())["variants"]) == {"tiny", "tiny_seed3"}
    begun(batch)
    assert set(json.loads((batch.out / BATCH).read_text())["variants"]) == {"tiny", "tiny_seed3"}


def test_other_settings_of_a_variant_are_refused_and_named(batch):
    begun(batch)
    before = (batch.out / BATCH).read_bytes()
    with pytest.raises(OutputExists, match=r"'tiny' with other settings \(steps: 2, now 3\)"):
        begun(batch, variants=variants(["tiny"], steps=3, overrides=["previews=0", "plots=none"]))
    assert (batch.out / BATCH).read_bytes() == before


def test_another_number_of_threads_is_refused(batch):
    begun(batch)
    with pytest.raises(OutputExists, match="threads=1"):
        begun(batch, threads=2)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 9}', "[" * 100_000])
def test_a_file_that_says_nothing_is_refused(batch, content):
    (batch.out / BATCH).write_text(content)
    with pytest.raises(UserError, match=r"batch\.json does not say"):
        begun(batch)


@pytest.mark.parametrize("name", [BATCH, "results.jsonl", "failures.jsonl", ".stop"])
def test_a_folder_in_the_place_of_a_file_of_the_batch_is_refused_before_it_begins(batch, name):
    (batch.out / name).mkdir()
    with pytest.raises(PathRejected, match="is not a file"):
        begun(batch)


def test_runs_of_nobody_knows_what_settings_are_refused(batch):
    (batch.out / "tiny").mkdir()
    with pytest.raises(OutputExists, match=r"no batch\.json"):
        begun(batch)
