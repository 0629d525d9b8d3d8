import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.engine.test_loop import RecordingBackbone
from tests.training.conftest import CONDITIONS, all_pairs, recipe
from vitsplice.contracts import MATCH, FeatureRequest
from vitsplice.engine.conditions import described_image, pair_condition
from vitsplice.engine.targets import MemoryBank, Targets
from vitsplice.engine.terms import image_requests, output_requests, term_values
from vitsplice.errors import ConfigError, TrainingCacheError
from vitsplice.matching import match_vectors
from vitsplice.support.progress import ProgressReporter
from vitsplice.training import cache
from vitsplice.training.cache import TensorCache
from vitsplice.training.data import TrainingData
from vitsplice.training.prepare import prepared_data

pytestmark = pytest.mark.slow

HALF = {"rtol": 2e-3, "atol": 2e-3}
"""Tolerances of values that the cache stores in half precision."""


def requests_of(example, name):
    return image_requests(term for term in example.recipe.terms if term.backbone == name)


class PartsOfWork:
    """Descriptions of the parts of the work; the reporter stops the work after ``stop_after`` of them."""

    def __init__(self, stop_after=10**6):
        self.stop_after, self.descriptions = stop_after, []

    def reporter(self):
        return ProgressReporter(
            part=lambda description, done, total: self.descriptions.append(description),
            stopped=lambda: len(self.descriptions) >= self.stop_after,
        )


class Prepared(NamedTuple):
    """Cache of pairs: its folder, the data, descriptions of the parts of the work, bytes of its records."""

    folder: Path
    data: TrainingData
    descriptions: list[str]
    bytes: int


def prepare(folder, pairs, vit, cnn):
    """Compute the cache of pairs in an empty folder."""
    progress = PartsOfWork()
    data = prepared_data(recipe(vit, cnn), pairs, folder, progress=progress.reporter())
    return Prepared(folder, data, progress.descriptions, TensorCache(folder, 0).bytes)


@pytest.fixture(scope="module")
def prepared(folder, pairs, vit, cnn):
    return prepare(folder / "cache", pairs, vit, cnn)


@pytest.fixture(scope="module")
def data(prepared):
    return prepared.data


@pytest.fixture(scope="module")
def two_pairs(pairs):
    """Two images, each paired with the other."""
    pair, reverse = pairs[0], pairs[2]
    assert (pair.structure, pair.appearance) == (reverse.appearance, reverse.structure)
    return [pair, reverse]


@pytest.fixture(scope="module")
def prepared_two(folder, two_pairs, vit, cnn):
    return prepare(folder / "cache of two", two_pairs, vit, cnn)


@pytest.fixture(scope="module")
def examples(data):
    """An example of each structure image."""
    return [data[index] for index in range(1, len(data), 2)]


@pytest.fixture(scope="module")
def fresh(data, examples, vit):
    """The conditions and the vectors of each of the examples, computed from its images."""
    return [computed(data, example, vit) for example in examples]


@pytest.fixture
def copied(prepared_two, tmp_path):
    """Copy of the cache of two pairs, with the records of the tests that came before."""
    return shutil.copytree(prepared_two.folder, tmp_path / "copied")


def test_images_have_the_shorter_side_of_the_settings(data):
    for example in map(data.__getitem__, range(len(data))):
        for image in example.images.pixels.values():
            assert min(image.shape[-2:]) == 32
            assert 0 <= float(image.min()) <= float(image.max()) <= 1
        assert example.images.pixels["start"].shape == example.images.pixels["structure"].shape


def computed(data, example, vit):
    """Compute the conditions of an example and its vectors from its images."""
    appearance = data._pixels(data.digests[example.pair.appearance])
    structure, config = example.images.pixels["structure"], example.recipe.config
    described = [
        described_image(image, vit, CONDITIONS, config.match.grid, appearance=image is appearance)
        for image in (structure, appearance)
    ]
    condition = pair_condition(CONDITIONS, *described, vit.info, config.match)
    return condition, match_vectors(condition.match, appearance)


def test_stored_conditions_are_close_to_fresh_ones(examples, fresh):
    for example, (condition, vectors) in zip(examples, fresh, strict=True):
        assert set(example.condition) == set(condition.values)
        for name, value in condition.values.items():
            torch.testing.assert_close(example.condition[name], value, rtol=3e-3, atol=3e-3)
        torch.testing.assert_close(example.vectors.structure, vectors.structure, **HALF)


def test_an_appearance_image_that_is_matched_mirrored_is_mirrored_with_its_vectors(data, examples, fresh):
    mirrored = []
    for example, (condition, vectors) in zip(examples, fresh, strict=True):
        mirrored.append(condition.match.mirrored)
        unmirrored = data._pixels(data.digests[example.pair.appearance])
        expected = [unmirrored, vectors.appearance]
        if condition.match.mirrored:
            expected = [values.flip(-1) for values in expected]
        assert torch.equal(example.images.pixels["appearance"], expected[0])
        torch.testing.assert_close(example.vectors.appearance, expected[1], **HALF)
    assert set(mirrored) == {True, False}


def test_stored_features_are_close_to_fresh_ones(examples):
    for example in examples:
        for step in range(3):
            views = example.views(step)
            for name, targets in example.targets.items():
                requests = requests_of(example, name)
                bank = MemoryBank(example.recipe.config.views)
                expected = Targets(example.images, example.recipe.backbones[name], bank, example.vectors)(
                    requests, views
                )
                stored = targets(requests, views)
                assert set(stored) == set(expected)
                for key, features in expected.items():
                    assert set(stored[key]) == set(features)
                    for request, value in features.items():
                        actual = stored[key][request]
                        assert (actual.grid, actual.prefix) == (value.grid, value.prefix)
                        torch.testing.assert_close(actual.values, value.values, **HALF)


def test_stored_features_need_no_pass_of_a_backbone(prepared, pairs, vit, cnn):
    recording = RecordingBackbone(vit), RecordingBackbone(cnn)
    data = prepared_data(recipe(*recording), pairs, prepared.folder)
    for step in range(4):
        example = data[step]
        for name, targets in example.targets.items():
            targets(requests_of(example, name), example.views(step))
    assert not recording[0].passes
    assert not recording[1].passes


def test_views_without_a_bank_are_computed(prepared, pairs, vit, cnn):
    recording = RecordingBackbone(vit)
    data = prepared_data(recipe(recording, cnn, "views.appearance.bank=null"), pairs, prepared.folder)
    recording.passes.clear()
    example = data[0]
    example.targets["vit"](requests_of(example, "vit"), example.views(0))
    assert recording.passes == [(1, False)]  # one image, without gradients


def test_terms_with_stored_target_features_are_finite(data):
    example = data[2]
    views = example.views(0)
    for name, targets in example.targets.items():
        terms = [term for term in example.recipe.terms if term.backbone == name]
        requests = image_requests(terms)
        inputs = {term.input: views[term.input](example.images.pixels[term.input[0]]) for term in terms}
        inputs = {key: image.clone().requires_grad_() for key, image in inputs.items()}
        outputs = example.recipe.backbones[name].features(inputs, output_requests(terms))
        values = term_values(terms, outputs, targets(requests, views))
        assert all(torch.isfinite(value) for value in values.values())
        if name == "vit":  # the output of the identity term is here the appearance image itself
            assert float(values["identity"].detach()) < 1e-4


def test_own_condition_is_that_of_the_appearance_image_with_itself(data, prepared, pairs, vit, cnn):
    for example in map(data.__getitem__, range(4)):
        appearance = example.images.pixels["appearance"]
        assert torch.equal(example.own_condition["appearance"], appearance)
        assert torch.equal(example.own_condition["cls"], example.condition["cls"])
        assert example.own_condition["start"].shape == appearance.shape
    without = prepared_data(recipe(vit, cnn, "terms.identity.weight=0"), pairs, prepared.folder)
    assert without[0].own_condition is None


def test_a_generator_conditioned_only_on_cls_needs_no_match(tmp_path, pairs, vit, cnn):
    terms = "terms={structure: {loss: structure, weight: 1}, appearance: {loss: appearance, weight: 1}}"
    data = prepared_data(recipe(vit, cnn, terms, conditions=("cls",)), pairs, tmp_path)
    example = data[1]
    assert set(example.condition) == {"cls"}
    assert example.vectors is None
    assert torch.equal(example.images.pixels["start"], example.images.pixels["structure"])
    assert MATCH not in example.targets["vit"](requests_of(example, "vit"), example.views(0))["structure", "crop"]


def test_cls_is_computed_with_the_grid_of_the_settings_also_without_a_match(tmp_path, pairs, vit, cnn):
    terms = "terms={structure: {loss: structure, weight: 1}, appearance: {loss: appearance, weight: 1}}"
    for grid in (4, 6):
        settings = recipe(vit, cnn, terms, f"match.grid={grid}", conditions=("cls",))
        example = prepared_data(settings, pairs[:1], tmp_path)[0]
        image = described_image(example.images.pixels["appearance"], vit, ("cls",), grid, appearance=True)
        expected = pair_condition(("cls",), image, image, vit.info, settings.config.match).values["cls"]
        torch.testing.assert_close(example.condition["cls"], expected, **HALF)


def test_examples_without_terms_need_no_features(tmp_path, two_pairs, vit, cnn):
    recording = RecordingBackbone(cnn)
    data = prepared_data(recipe(vit, recording, terms=False), two_pairs, tmp_path)
    assert set(data[0].condition) == set(CONDITIONS)
    assert not recording.passes


def test_an_example_is_on_the_device_of_the_data(data):
    moved = TrainingData(data.recipe, data.pairs, data.digests, data._cache, torch.device("meta"))[0]
    tensors = [*moved.images.pixels.values(), *moved.condition.values(), moved.vectors.structure]
    views, name = moved.views(0), "vit"
    features = moved.banks[name].get(("appearance", "entire"), views["appearance", "entire"], [FeatureRequest("key")])
    assert {tensor.device.type for tensor in [*tensors, features[FeatureRequest("key")].values]} == {"meta"}


def test_stopped_work_resumes_where_it_was(prepared_two, tmp_path, two_pairs, vit, cnn):
    work = [PartsOfWork(number) for number in (1, 3, 5, 9)]
    for each in work:
        assert prepared_data(recipe(vit, cnn), two_pairs, tmp_path, progress=each.reporter()) is None
    assert [each.descriptions[-1].split()[0] for each in work] == ["image", "features", "pair", "features"]
    work.append(PartsOfWork())
    assert len(prepared_data(recipe(vit, cnn), two_pairs, tmp_path, progress=work[-1].reporter())) == 2
    assert sum(len(each.descriptions) for each in work) == len(prepared_two.descriptions)


@pytest.mark.parametrize(
    ("override", "recomputed"),
    [
        ("training.side=40", {"image", "pair", "features"}),
        ("match.grid=5", {"pair"}),
        ("views.structure.bank=4", {"features"}),
        ("views.appearance.crop=[0.5, 0.8]", {"features"}),
        ("seed=1", {"features"}),
        ("backbones.cnn.precision=bfloat16", {"features"}),
        ("backbones.vit.side=24", {"features"}),
        ("terms.structure.layer=0", {"features"}),
        ("terms.structure.weight=2", set()),
        ("training.batch=2", set()),
    ],
)
def test_only_records_that_depend_on_a_changed_setting_are_computed_again(
    prepared_two, two_pairs, vit, cnn, override, recomputed
):
    progress, settings = PartsOfWork(), recipe(vit, cnn, override)
    data = prepared_data(settings, two_pairs, prepared_two.folder, progress=progress.reporter())
    assert {description.split()[0] for description in progress.descriptions} == recomputed
    assert data[0].condition["start"].shape == data[0].images.pixels["structure"].shape


def test_features_of_another_backbone_are_not_mixed_up(prepared_two, two_pairs, vit, cnn):
    from vitsplice_tiny import tiny_vit

    other = tiny_vit()
    with torch.no_grad():
        other.model.blocks[0].mlp.fc1.weight.mul_(1.5)
    other = type(other)(other.model, name="tiny-vit", licence="", source="", cls_normalised=True)
    assert other.info.sha256 != vit.info.sha256
    different = prepared_data(recipe(other, cnn), two_pairs, prepared_two.folder)
    data, key = prepared_two.data, ("appearance", "entire")
    view = data[0].views(0)[key]
    first, second = (
        each[0].banks["vit"].get(key, view, [FeatureRequest("key")])[FeatureRequest("key")].values
        for each in (data, different)
    )
    assert not torch.allclose(first, second, atol=0.01)


def test_too_little_space_is_refused_with_what_would_fit(tmp_path, images, vit, cnn):
    pairs = all_pairs(images)
    with pytest.raises(
        TrainingCacheError,
        match=r"the remaining space is enough for no features of pairs: give fewer images, or lower any of training",
    ):
        prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=100_000)
    with pytest.raises(TrainingCacheError, match=r"features of 12 pairs of 4 images need about") as refused:
        prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=120_000)
    needed, for_pairs = (float(size) * 1e6 for size in re.findall(r"([\d.]+) MB", str(refused.value))[:2])
    computed = TensorCache(tmp_path, 0).bytes
    with pytest.raises(
        TrainingCacheError,
        match=r"enough for about (59|60|61) % of the missing features of pairs: give fewer pairs or images, or lower "
        r"any of training\.side, training\.partners, views\.structure\.bank, views\.appearance\.bank;",
    ):
        # space for all records of images and 60 % of those of pairs
        prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=int(computed + needed - 0.4 * for_pairs))
    with pytest.raises(
        TrainingCacheError, match="enough for less than 1 % of the missing features of pairs: give fewer pairs"
    ):
        prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=int(computed + needed - 0.999 * for_pairs))


def test_space_for_the_stored_views_is_enough_and_less_is_refused_once_all_pairs_are_matched(
    prepared, tmp_path, pairs, vit, cnn
):
    needed, progress = prepared.bytes, PartsOfWork()
    with pytest.raises(TrainingCacheError, match=r"missing features of 6 pairs of 3 images need about [\d.]+ MB\."):
        prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=needed - 20_000, progress=progress.reporter())
    assert progress.descriptions[-1].startswith("pair ")
    assert len(prepared_data(recipe(vit, cnn), pairs, tmp_path, limit=needed + 5_000)) == 6


def test_a_damaged_shard_is_refused_by_name(copied, two_pairs, vit, cnn):
    path = min(copied.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TrainingCacheError, match=path.name):
        prepared_data(recipe(vit, cnn), two_pairs, copied)
    path.unlink()
    assert len(prepared_data(recipe(vit, cnn), two_pairs, copied)) == 2


def test_crops_of_a_step_have_one_size_and_depend_on_the_image(data):
    examples = list(map(data.__getitem__, range(len(data))))
    for step in range(5):
        views = [example.views(step) for example in examples]
        for role in ("structure", "appearance"):
            assert len({(view[role, "crop"].height, view[role, "crop"].width) for view in views}) == 1
            assert len({view[role, "crop"] for view in views}) > 1
        assert [example.views(step) for example in examples] == views
    sizes = {examples[0].views(step)["structure", "crop"].height for step in range(30)}
    assert 2 <= len(sizes) <= 3  # at most views.structure.bank


def test_crops_that_are_not_square_are_refused(tmp_path, pairs, vit, cnn):
    with pytest.raises(ConfigError, match=r"views\.structure\.shape"):
        prepared_data(recipe(vit, cnn, "views.structure.shape=image"), pairs, tmp_path)


def number_of_records(folder):
    return sum(len(json.loads(path.read_text())["records"]) for path in folder.glob("*.json"))


@pytest.mark.kill
@pytest.mark.parametrize("parts", [1, 9, 18])
def test_killed_work_resumes_from_its_finished_shards(tmp_path, prepared_two, two_pairs, vit, cnn, monkeypatch, parts):
    monkeypatch.setattr(cache, "SHARD_RECORDS", 4)

    def work():
        kills = ProgressReporter(
            part=lambda *_: os.kill(os.getpid(), signal.SIGKILL) if next(number) == parts else None
        )
        prepared_data(recipe(vit, cnn), two_pairs, tmp_path, progress=kills)

    number = itertools.count()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = number_of_records(tmp_path)
    finished = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    remaining = PartsOfWork()
    resumed = prepared_data(recipe(vit, cnn), two_pairs, tmp_path, progress=remaining.reporter())
    assert {path: path.read_bytes() for path in finished} == finished
    assert len(finished) >= parts // cache.SHARD_RECORDS
    assert len(remaining.descriptions) == number_of_records(tmp_path) - before
    data = prepared_two.data
    for index in range(2):
        for name, value in data[index].condition.items():
            assert torch.equal(resumed[index].condition[name], value)
        for name, bank in data[index].banks.items():
            key, view = ("appearance", "crop"), data[index].views(1)["appearance", "crop"]
            requests = bank.recipe.requests_by_view[name][key]
            stored = resumed[index].banks[name].get(key, view, requests)
            for request, features in bank.get(key, view, requests).items():
                assert torch.equal(stored[request].values, features.values)


def test_blur_that_is_too_large_for_the_crops_is_refused_before_anything_is_computed(tmp_path, pairs, vit, cnn):
    blur = "views.structure.blur={probability: 1, kernel: 101}"
    with pytest.raises(ConfigError, match="views.structure.blur.kernel: 101 is too large"):
        prepared_data(recipe(vit, cnn, blur), pairs, tmp_path)
    assert not any(tmp_path.iterdir())
