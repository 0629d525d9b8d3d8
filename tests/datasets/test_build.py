import json
import shutil

import pytest
import torch

from vitsplice.datasets import read
from vitsplice.datasets.build import BuildOptions, build
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import encode_png
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

pytestmark = pytest.mark.usefixtures("small_similarity")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        pixels = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(number))
        (folder / f"{number}.png").write_bytes(encode_png(pixels))
    return folder


@pytest.fixture
def build_pairs(tmp_path):
    """Function that builds a manifest, by default pairs.csv, and returns the number of pairs and the notes."""

    def run(*arguments, out="pairs.csv", force=False, stopped=NULL_REPORTER.stopped, **options):
        notes = []
        progress = ProgressReporter(note=notes.append, stopped=stopped)
        return build(BuildOptions(*arguments, **options), tmp_path / out, force=force, progress=progress), notes

    return run


@pytest.fixture
def manifest(tmp_path):
    return tmp_path / "pairs.csv"


def test_same_options_give_the_same_bytes(build_pairs, images, manifest):
    options = {"k": 2, "licence": "CC0", "source": "here", "force": True}
    assert build_pairs(images, **options)[0] == 10
    first = manifest.read_bytes()
    assert build_pairs(images, **options)[0] == 10
    assert manifest.read_bytes() == first
    pairs = list(read(manifest))
    assert [(pair.licence, pair.source) for pair in pairs] == [("CC0", "here")] * 10
    assert all(pair.id == f"{pair.structure.stem}--{pair.appearance.stem}" for pair in pairs)
    assert build_pairs(images, seed=1, **options)[0] == 10
    assert manifest.read_bytes() != first


def test_csv_and_jsonl_hold_the_same_pairs(build_pairs, images, manifest):
    build_pairs(images, by="all")
    build_pairs(images, by="all", out="pairs.jsonl")
    pairs = list(read(manifest))
    assert pairs == list(read(manifest.with_suffix(".jsonl")))
    assert len(pairs) == 20


def test_images_are_paired_within_their_domain(build_pairs, tree, manifest):
    folder = tree(*(f"afhq/test/{name}.jpg" for name in ("cat/1", "cat/2", "dog/1", "dog/2", "one/1")))
    number, notes = build_pairs(folder / "afhq", by="all")
    assert number == 4
    for pair in read(manifest):
        assert pair.structure.parent == pair.appearance.parent == folder / "afhq" / pair.source
    assert any("no appearance image is available for 1 structure image" in note for note in notes)


def test_ids_do_not_depend_on_other_domains(build_pairs, tree, manifest):
    def pairs(*domains):
        folder = tree(*(f"tree/{domain}/000{number}.jpg" for domain in domains for number in (1, 2, 3)))
        build_pairs(folder / "tree", by="all", force=True)
        shutil.rmtree(folder / "tree")
        return {pair.id: pair.images for pair in read(manifest)}

    everything = pairs("test/bear", "train/ant", "train/bear", "train/cat", "val/cat")
    assert len(everything) == 5 * 6
    for domains in (["train/cat"], ["train/bear", "train/cat"], ["val/cat"]):
        some = pairs(*domains)
        assert len(some) == len(domains) * 6
        assert some.items() <= everything.items()


def test_every_frame_of_a_scene_is_paired_with_the_appearance_image(build_pairs, images, tmp_path, manifest):
    (tmp_path / "mask.png").touch()
    frames = [{"file_path": "images/1.png", "mask_path": "mask.png"}, {"file_path": "images/gone.png"}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    number, notes = build_pairs(tmp_path / "transforms.json", images / "0.png")
    assert number == 2
    assert [pair.structure_mask for pair in read(manifest)] == [tmp_path / "mask.png", None]
    assert any("1 of the listed files do not exist" in note for note in notes)


@pytest.mark.slow
def test_stopped_similarity_resumes_to_the_same_bytes(build_pairs, images, tmp_path, manifest):
    options = {"by": "similarity", "k": 2, "backbone": "tiny-vit"}
    assert build_pairs(images, **options)[0] == 10
    expected = manifest.read_text()
    stopped = iter([False, False, False, True])
    assert build_pairs(images, **options, out="new/pairs.csv", stopped=lambda: next(stopped))[0] is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".pairs.csv.features.jsonl"]
    assert build_pairs(images, **options, out="new/pairs.csv")[0] == 10
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.csv"]
    stored = (tmp_path / "new" / "pairs.csv").read_text()  # its paths are absolute: the images are not below its folder
    assert stored.replace(f"{tmp_path}/", "") == expected


@pytest.mark.slow
def test_similarity_skips_and_names_unreadable_images(build_pairs, images):
    for number in range(8):
        (images / f"x{number}.png").write_bytes(b"no image")
    number, notes = build_pairs(images, by="similarity", backbone="tiny-cnn")
    assert number == 5
    assert [note for note in notes if note.startswith("skipped")][-1].endswith("3 more images that cannot be read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "name"}, "by='name' needs two different folders"),
        ({"by": "all", "k": 2}, "k applies only to by='similarity' or by='random', not to by='all'"),
        ({"by": "similarity", "seed": 2}, "seed applies only to by='random', not to by='similarity'"),
        ({"backbone": "tiny-vit"}, "backbone applies only to by='similarity', not to by='random'"),
        ({"by": "similarity", "backbone": "no-such"}, "no backbone 'no-such'"),
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"by": "all", "k": -1}, "k must be at least 1, not -1"),
        ({"by": "foo"}, "by must be similarity, random, all or name, not 'foo'"),
        ({"licence": "a\udcffb"}, r"licence 'a.*b' has a NUL or a character that UTF-8 cannot encode; give a name"),
        ({"source": "a\0b"}, r"source 'a.*b' has a NUL or a character that UTF-8 cannot encode; give a name"),
        ({"out": "pairs.txt"}, "must end in .csv or .jsonl"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(build_pairs, images, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        build_pairs(images, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_list_of_pairs_takes_no_options_of_pairing(build_pairs, images, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"images/0.png images/1.png\nimages/0.png {'x' * 300}.png")
    number, notes = build_pairs(path)
    assert number == 2
    assert any(note.startswith("1 of the listed files do not exist") for note in notes)
    with pytest.raises(OutputExists, match="force=True"):
        build_pairs(path)
    with pytest.raises(UserError, match="by='random' has no effect"):
        build_pairs(path, by="random", force=True)
    with pytest.raises(UserError, match="k applies only to .*, not to a source that defines the pairs"):
        build_pairs(path, k=1, force=True)


def test_too_few_images_and_too_many_pairs_are_refused(build_pairs, images, monkeypatch):
    for number in range(1, 5):
        (images / f"{number}.png").unlink()
    with pytest.raises(UserError, match="nothing to pair in .*: of 1 image, no"):
        build_pairs(images)
    monkeypatch.setattr("vitsplice.datasets.build.MAX_PAIRS", 0)
    with pytest.raises(UserError, match="more than 0; split it"):
        build_pairs(images, by="all")


@pytest.mark.parametrize(("limit", "advice"), [(5, "try by='random' with k=1"), (4, "split it into several sources")])
def test_error_about_too_many_pairs_advises_what_is_allowed(build_pairs, images, monkeypatch, limit, advice):
    """Of five images, k=1 gives five pairs."""
    monkeypatch.setattr("vitsplice.datasets.build.MAX_PAIRS", limit)
    for options in ({"by": "all"}, {"by": "random", "k": 2}):
        with pytest.raises(UserError, match=f"pairs, more than {limit}; {advice}"):
            build_pairs(images, **options)


def test_number_of_pairs_of_a_list_is_limited(build_pairs, images, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("images/0.png images/1.png\n" * 3)
    monkeypatch.setattr("vitsplice.datasets.build.MAX_PAIRS", 2)
    with pytest.raises(UserError, match="list.txt would give about 3 pairs, more than 2; split it"):
        build_pairs(tmp_path / "list.txt")


def test_subfolders_of_a_folder_of_images_are_noted(build_pairs, images, tree):
    tree("images/more/1.png", "images/other/1.png")
    number, notes = build_pairs(images)
    assert number == 5
    assert f"2 subfolders with images are not used, such as {images}/more" in notes


def test_subfolders_with_images_but_without_a_pair_are_noted_with_a_definition_of_a_pair(build_pairs, tree):
    folder = tree("set/cow/structure.jpg", "set/cow/appearance.jpg", "set/dog/Structure.jpg") / "set"
    number, notes = build_pairs(folder)
    assert number == 1
    ignored = f"1 subfolder with images is not used, such as {folder}/dog; a pair is structure.* and appearance.*"
    assert any(note.startswith(ignored) for note in notes)


@pytest.mark.parametrize("out", ["pairs.csv", "new/folder/pairs.csv"])
def test_failed_similarity_leaves_no_cache_and_no_folder(build_pairs, images, tmp_path, out):
    for number in range(1, 5):
        (images / f"{number}.png").unlink()
    with pytest.raises(UserError, match="nothing to pair"):
        build_pairs(images, by="similarity", backbone="tiny-vit", out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_cache_of_an_interrupted_similarity_survives_other_builds(build_pairs, images, tmp_path):
    stopped = iter([False, True])
    assert build_pairs(images, by="similarity", backbone="tiny-vit", stopped=lambda: next(stopped))[0] is None
    assert build_pairs(images, by="random")[0] == 5
    assert (tmp_path / ".pairs.csv.features.jsonl").is_file()


def test_name_that_is_too_long_for_the_cache_of_similarity_is_refused_before_the_backbone_is_loaded(
    build_pairs, images, tmp_path
):
    name = f"{'a' * 231}.csv"
    with pytest.raises(UserError, match="manifest is too long, because .* contains it; shorten it by 2 bytes$"):
        build_pairs(images, by="similarity", backbone="none", out=name)
    assert build_pairs(images, by="similarity", backbone="tiny-vit", out=name[2:])[0] == 5
    assert build_pairs(images, by="random", out=name)[0] == 5
