import json
import shutil

import pytest
import torch

from vitsplice.datasets import read
from vitsplice.datasets.build import Plan, build
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import encode_png
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        pixels = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(number))
        (folder / f"{number}.png").write_bytes(encode_png(pixels))
    return folder


@pytest.fixture
def made(tmp_path):
    def make(*arguments, out="pairs.csv", **options):
        notes = []
        force, stopped = options.pop("force", False), options.pop("stopped", NULL_REPORTER.stopped)
        progress = ProgressReporter(note=notes.append, stopped=stopped)
        number = build(Plan(*arguments, **options), tmp_path / out, force=force, progress=progress)
        return number, notes

    return make


def test_a_manifest_is_the_same_every_time(made, images, tmp_path):
    assert made(images, k=2, licence="CC0", source="here")[0] == 10
    first = (tmp_path / "pairs.csv").read_bytes()
    assert made(images, k=2, licence="CC0", source="here", force=True)[0] == 10
    assert (tmp_path / "pairs.csv").read_bytes() == first
    pairs = list(read(tmp_path / "pairs.csv"))
    assert [(pair.licence, pair.source) for pair in pairs] == [("CC0", "here")] * 10
    assert all(pair.id == f"{pair.structure.stem}--{pair.appearance.stem}" for pair in pairs)
    assert made(images, seed=1, k=2, licence="CC0", source="here", force=True)[0] == 10
    assert (tmp_path / "pairs.csv").read_bytes() != first


def test_jsonl_holds_the_same(made, images, tmp_path):
    made(images, by="all")
    made(images, by="all", out="pairs.jsonl")
    pairs = list(read(tmp_path / "pairs.csv"))
    assert pairs == list(read(tmp_path / "pairs.jsonl"))
    assert len(pairs) == 20


def test_domains_are_not_mixed(made, tmp_path):
    for name in ("test/cat/1.jpg", "test/cat/2.jpg", "test/dog/1.jpg", "test/dog/2.jpg", "test/one/1.jpg"):
        (tmp_path / "afhq" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "afhq" / name).touch()
    number, notes = made(tmp_path / "afhq", by="all")
    assert number == 4
    for pair in read(tmp_path / "pairs.csv"):
        assert pair.structure.parent == pair.appearance.parent == tmp_path / "afhq" / pair.source
    assert any("1 structure images have no appearance image" in note for note in notes)


def test_a_pair_keeps_its_id_when_other_domains_come_and_go(made, tmp_path):
    def pairs(*domains):
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        for domain in domains:
            (tmp_path / "tree" / domain).mkdir(parents=True)
            for number in (1, 2, 3):
                (tmp_path / "tree" / domain / f"000{number}.jpg").touch()
        made(tmp_path / "tree", by="all", force=True)
        return {pair.id: pair.images for pair in read(tmp_path / "pairs.csv")}

    everything = pairs("test/bear", "train/ant", "train/bear", "train/cat", "val/cat")
    assert len(everything) == 5 * 6
    for domains in (["train/cat"], ["train/bear", "train/cat"], ["val/cat"]):
        some = pairs(*domains)
        assert len(some) == len(domains) * 6
        assert some.items() <= everything.items()


def test_a_scene_has_its_masks_and_every_appearance(made, images, tmp_path):
    (tmp_path / "mask.png").touch()
    listed = [{"file_path": "images/1.png", "mask_path": "mask.png"}, {"file_path": "images/gone.png"}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": listed}))
    number, notes = made(tmp_path / "transforms.json", images / "0.png")
    assert number == 2
    assert [pair.structure_mask for pair in read(tmp_path / "pairs.csv")] == [tmp_path / "mask.png", None]
    assert any("1 of the files it names are not there" in note for note in notes)


def test_similarity_that_was_stopped_goes_on(made, images, tmp_path, monkeypatch):
    options = {"by": "similarity", "k": 2, "backbone": "tiny-vit"}
    assert made(images, **options)[0] == 10
    whole = (tmp_path / "pairs.csv").read_bytes()
    asked = iter([False, False, False, True])
    assert made(images, **options, out="new/pairs.csv", stopped=lambda: next(asked))[0] is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".pairs.csv.features.jsonl"]
    assert made(images, **options, out="new/pairs.csv")[0] == 10
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.csv"]
    assert (tmp_path / "new" / "pairs.csv").read_text().replace(str(tmp_path) + "/", "") == whole.decode()


def test_similarity_leaves_out_what_is_broken_and_tells_it(made, images, tmp_path):
    for number in range(8):
        (images / f"x{number}.png").write_bytes(b"no image")
    number, notes = made(images, by="similarity", backbone="tiny-cnn")
    assert number == 5
    assert [note for note in notes if note.startswith("left out")][-1].endswith("3 more images that cannot be read")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"by": "name"}, "by='name' needs two folders"),
        ({"by": "all", "k": 2}, "k has no use with by='all'"),
        ({"by": "similarity", "seed": 2}, "seed has no use"),
        ({"backbone": "tiny-vit"}, "backbone has no use with by='random'"),
        ({"by": "similarity", "backbone": "no-such"}, "no backbone 'no-such'"),
        ({"out": "pairs.txt"}, "ends in .csv or .jsonl"),
    ],
)
def test_what_does_not_go_together_is_named(made, images, tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        made(images, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_source_that_pairs_takes_no_pairing(made, images, tmp_path):
    (tmp_path / "list.txt").write_text(f"images/0.png images/1.png\nimages/0.png {'x' * 300}.png")
    number, notes = made(tmp_path / "list.txt")
    assert number == 2
    assert any(note.startswith("1 of the files it names are not there") for note in notes)
    with pytest.raises(OutputExists, match="force=True"):
        made(tmp_path / "list.txt")
    with pytest.raises(UserError, match="by='random' has no use"):
        made(tmp_path / "list.txt", by="random", force=True)
    with pytest.raises(UserError, match="k has no use with a source that pairs"):
        made(tmp_path / "list.txt", k=1, force=True)


def test_too_little_and_too_much(made, images, monkeypatch):
    for number in range(1, 5):
        (images / f"{number}.png").unlink()
    with pytest.raises(UserError, match="nothing to pair in .*: of 1 image"):
        made(images)
    monkeypatch.setattr("vitsplice.datasets.build.MOST", 0)
    with pytest.raises(UserError, match="more than 0"):
        made(images, by="all")
