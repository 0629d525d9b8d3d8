import shutil
from itertools import product

import pytest
import torch

from tests.training.conftest import photographs
from vitsplice.config import TrainingConfig
from vitsplice.datasets import Pair
from vitsplice.datasets.manifest import write
from vitsplice.datasets.similarity import appearance_features
from vitsplice.errors import ImageError, UserError
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.training.pairs import pairs_within_subsets, training_pairs
from vitsplice.training.split import Split

CPU = torch.device("cpu")
CONFIG = TrainingConfig(side=32, partners=2, held_out=0.4)
WITHOUT_HELD_OUT = CONFIG.model_copy(update={"held_out": 0.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    photographs(folder, 12)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Folder of the cached fingerprints and features of the images of `folder`."""
    return tmp_path_factory.mktemp("cache")


def images_of(pairs):
    return {path for pair in pairs for path in (pair.structure, pair.appearance)}


def paired(path, vit, cache, config=CONFIG, progress=NULL_REPORTER):
    return training_pairs(path, config, vit, CPU, cache / "features.jsonl", progress)


@pytest.mark.slow
def test_images_of_a_folder_are_paired_with_the_most_similar_ones_of_their_subset(folder, vit, cache):
    pairs = paired(folder, vit, cache)
    training, held_out = images_of(pairs.training), images_of(pairs.held_out)
    assert training | held_out == set(folder.iterdir())
    assert not training & held_out
    features, _ = appearance_features(sorted(folder.iterdir()), vit, CPU, cache / "features.jsonl", NULL_REPORTER)
    directions = {path: torch.nn.functional.normalize(torch.tensor(f.values), dim=0) for path, f in features.items()}
    for subset, subset_pairs in ((training, pairs.training), (held_out, pairs.held_out)):
        for structure in subset:
            others = sorted(subset - {structure}, key=lambda path: -float(directions[structure] @ directions[path]))
            assert [pair.appearance for pair in subset_pairs if pair.structure == structure] == others[:2]
    ids = [pair.id for pair in (*pairs.training, *pairs.held_out)]
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
def test_pairs_are_the_same_each_time(folder, vit, tmp_path):
    assert paired(folder, vit, tmp_path) == paired(folder, vit, tmp_path)


@pytest.mark.slow
def test_previews_of_a_training_in_a_tree_of_domains_are_left_out(vit, tmp_path):
    for name in ("a", "b", "model/previews", "c/previews"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        photographs(tmp_path / "tree" / name, 2)
    (tmp_path / "tree" / "model" / "training.json").write_text("{}")
    pairs = paired(tmp_path / "tree", vit, tmp_path, WITHOUT_HELD_OUT)
    domains = {path.parent.relative_to(tmp_path / "tree").as_posix() for path in images_of(pairs.training)}
    assert domains == {"a", "b", "c/previews"}


@pytest.mark.slow
def test_nothing_is_held_out_if_the_fraction_is_zero(folder, vit, cache):
    pairs = paired(folder, vit, cache, WITHOUT_HELD_OUT)
    assert len(pairs.training) == 24
    assert not pairs.held_out


@pytest.mark.slow
def test_pairs_of_a_manifest_with_an_image_in_each_subset_are_left_out_and_counted(folder, vit, cache, tmp_path):
    paths = sorted(folder.iterdir())
    every = [Pair(f"{a.stem}--{b.stem}", a, b, structure_mask=a) for a, b in product(paths, paths) if a != b]
    write(tmp_path / "pairs.csv", every)
    pairs = paired(tmp_path / "pairs.csv", vit, cache)
    trained, held_out = len(images_of(pairs.training)), len(images_of(pairs.held_out))
    assert trained + held_out == 12
    assert [len(pairs.training), len(pairs.held_out)] == [trained * (trained - 1), held_out * (held_out - 1)]
    assert pairs.crossing == 2 * trained * held_out
    assert all(pair.structure_mask is None for pair in pairs.training)
    assert images_of(pairs.training) == images_of(paired(folder, vit, cache).training)


def test_a_manifest_with_several_appearance_images_is_refused(folder, vit, tmp_path):
    first, second, third = sorted(folder.iterdir())[:3]
    write(tmp_path / "pairs.csv", [Pair("p", first, second, others=((third, None),))])
    with pytest.raises(UserError, match="pair p has several appearance images; a model is trained on pairs of two"):
        paired(tmp_path / "pairs.csv", vit, tmp_path)


@pytest.mark.slow
def test_unreadable_images_of_a_folder_are_skipped_and_those_of_a_manifest_named(vit, tmp_path):
    (tmp_path / "photos").mkdir()
    readable = photographs(tmp_path / "photos", 3)
    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(b"x")
    notes = []
    pairs = paired(tmp_path / "photos", vit, tmp_path, WITHOUT_HELD_OUT, ProgressReporter(note=notes.append))
    assert images_of(pairs.training) == set(readable)
    assert ["broken.png" in note for note in notes] == [True]
    write(tmp_path / "pairs.csv", [Pair("p", readable[0], broken)])
    with pytest.raises(ImageError, match=r"broken\.png"):
        paired(tmp_path / "pairs.csv", vit, tmp_path)


def test_a_manifest_without_pairs_is_refused(vit, tmp_path):
    (tmp_path / "pairs.csv").write_text("id,structure,appearance\n")
    with pytest.raises(UserError, match=r"pairs\.csv has no pairs"):
        paired(tmp_path / "pairs.csv", vit, tmp_path)


@pytest.mark.slow
def test_a_folder_of_photographs_may_have_the_name_of_a_manifest(vit, tmp_path):
    (tmp_path / "photos.csv").mkdir()
    paths = photographs(tmp_path / "photos.csv", 2)
    pairs = paired(tmp_path / "photos.csv", vit, tmp_path, WITHOUT_HELD_OUT)
    assert images_of(pairs.training) == set(paths)


def test_a_training_pair_is_required(tmp_path):
    paths = [tmp_path / name for name in "abcd"]
    split = Split(tuple(paths[:2]), tuple(paths[2:]))
    with pytest.raises(UserError, match="1 have one in each subset"):
        pairs_within_subsets([Pair("ac", paths[0], paths[2])], split)


def test_stopped_work_returns_nothing(folder, vit, tmp_path):
    assert paired(folder, vit, tmp_path, progress=ProgressReporter(stopped=lambda: True)) is None


def test_precision_of_the_backbone_is_passed_to_the_features(folder, vit, cache, monkeypatch):
    given = []

    def features_of(*arguments, precision):
        given.append(precision)

    monkeypatch.setattr("vitsplice.training.pairs.appearance_features", features_of)
    features = cache / "features.jsonl"
    assert training_pairs(folder, CONFIG, vit, CPU, features, NULL_REPORTER, precision="bfloat16") is None
    assert given == ["bfloat16"]


def test_subfolders_that_are_not_used_are_noted(folder, vit, tmp_path):
    shutil.copytree(folder, tmp_path / "photos")
    shutil.copytree(folder, tmp_path / "photos" / "more")
    notes = []
    paired(tmp_path / "photos", vit, tmp_path, progress=ProgressReporter(note=notes.append, stopped=lambda: True))
    assert notes == [f"1 subfolder with images is not used, such as {tmp_path}/photos/more"]
