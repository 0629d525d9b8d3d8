import re
import shutil
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load, save
from tiny_models import write_tiny_model

from vitsplice import load_backbone, load_model
from vitsplice.config import GeneratorConfig, ModelConfig
from vitsplice.errors import ModelRejected, UnknownName
from vitsplice.models import folder
from vitsplice.models.folder import read_model
from vitsplice.presets.model_folder import BackboneId, read_record
from vitsplice.support.files import json_sha256
from vitsplice.support.folder_lock import FolderLock


def rewrite(model, **changes):
    """Change the record of a model, with a valid digest."""
    content = yaml.safe_load((model / "model.yaml").read_text())
    content = {key: value for key, value in (content | changes).items() if key != "digest"}
    (model / "model.yaml").write_text(yaml.safe_dump(content | {"digest": json_sha256(content)}))


def test_a_model_is_read_as_it_was_written(tmp_path):
    images = ["ab" * 32, "01" * 32, "ab" * 32]
    record = write_tiny_model(tmp_path / "model", images=images, metrics={"lab-patches": 0.0125, "kid": None})
    stored = read_model(ModelConfig(folder=tmp_path / "model"))
    assert stored.record == record == read_record(tmp_path / "model")
    assert stored.images == set(images)
    assert record.images == 2
    assert record.backbone.name == "tiny-vit"
    assert record.settings.optimised_losses == {"structure", "appearance"}
    assert stored.weights["last.weight"].shape == (3, 6, 5, 5)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.yaml", "model.safetensors"}


@pytest.mark.parametrize("text", ["1e3", "1.5e3", "0o17", "a\x85b", "a\u2028b", "yes", "0123", "2020-01-01", " é "])
def test_texts_of_the_record_are_read_as_they_were_written(tmp_path, text):
    record = write_tiny_model(tmp_path / "model", licence=text, versions={text: text})
    assert read_record(tmp_path / "model") == record
    assert (record.licence, record.versions) == (text, {text: text})


def test_equal_models_have_equal_bytes_and_the_digest_depends_on_the_weights(tmp_path):
    first, second, other = (
        write_tiny_model(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.digest == second.digest != other.digest
    for name in ("model.yaml", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", lambda data: data[:-9], "model .*model is damaged: model.safetensors is truncated"),
        ("model.safetensors", lambda data: data[:-1] + b"x", "damaged: model.safetensors is truncated, was altered"),
        ("model.yaml", lambda data: data[: data.index(b"licence:")], "damaged: model.yaml is truncated or was altered"),
        ("model.yaml", lambda data: data.replace(b"CC0", b"MIT"), "damaged: model.yaml is truncated or was altered"),
        ("model.yaml", lambda data: b"[1, 2", "model .*model is damaged: model.yaml is truncated or was altered"),
        ("model.yaml", lambda data: b"[1, 2]", "damaged: model.yaml is not a mapping"),
        ("model.yaml", lambda data: b"\xff" + data, "model.yaml is truncated or was altered"),
    ],
)
def test_a_damaged_model_is_refused_by_name(model_folder, name, damage, message):
    path = model_folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelRejected, match=message):
        load_model(model_folder)


def test_a_folder_without_a_model_is_refused(tmp_path, model_folder):
    with pytest.raises(ModelRejected, match=r"is not the folder of a model: it has no model\.yaml"):
        load_model(tmp_path)
    with pytest.raises(ModelRejected, match="gone is not the folder of a model: it does not exist"):
        load_model(tmp_path / "gone")
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(ModelRejected, match=r"damaged: model\.safetensors cannot be read: No such file"):
        load_model(model_folder)


@pytest.mark.parametrize(
    "images",
    [
        None,
        torch.tensor([1, 2]),
        torch.zeros(2, 31, dtype=torch.uint8),
        torch.zeros(99, 32, dtype=torch.uint8),
        torch.zeros(2, 32),
    ],
)
def test_training_images_that_are_not_as_many_digests_as_recorded_are_refused(model_folder, images):
    path = model_folder / "model.safetensors"
    tensors = load(path.read_bytes()) | {"training_images": images}
    path.write_bytes(data := save({name: tensor for name, tensor in tensors.items() if tensor is not None}))
    rewrite(model_folder, weights=sha256(data).hexdigest())
    with pytest.raises(ModelRejected, match=r"damaged: training_images in model\.safetensors is not the SHA-256 of"):
        read_model(ModelConfig(folder=model_folder))


def test_another_format_is_refused_by_name_and_version(model_folder):
    rewrite(model_folder, format=7, versions={"vitsplice": "9.0"})
    with pytest.raises(
        ModelRejected, match=r"model .*: it was written by vitsplice 9\.0 in format 7; this .* format 1"
    ):
        load_model(model_folder)


def test_an_unknown_key_is_named(model_folder):
    rewrite(model_folder, colour="red")
    with pytest.raises(ModelRejected, match=r"model\.yaml is not valid: colour"):
        load_model(model_folder)


def test_an_unregistered_generator_is_refused_by_name(model_folder):
    rewrite(model_folder, generator={"name": "nowhere", "options": {}})
    with pytest.raises(UnknownName, match=r"model .*model: no conditional generator 'nowhere'"):
        load_model(model_folder)


def test_weights_that_do_not_fit_the_recorded_channels_are_refused(tmp_path):
    record = write_tiny_model(tmp_path / "model")
    rewrite(tmp_path / "model", channels={**record.channels, "cls": 16})
    with pytest.raises(ModelRejected, match=r"does not fit generator 'tiny-tint'"):
        load_model(tmp_path / "model")


def test_other_weights_of_the_backbone_are_refused_with_both_digests(tmp_path):
    info = replace(load_backbone("tiny-vit").info, sha256="0" * 64)
    write_tiny_model(tmp_path / "model", backbones={"main": BackboneId.of(info)})
    here = load_backbone("tiny-vit").info.sha256
    with pytest.raises(ModelRejected, match=rf"other weights of its backbone 'tiny-vit'.*\n.*{'0' * 64}, here {here}"):
        load_model(tmp_path / "model")


def test_a_model_that_replaced_another_is_refused_by_settings_of_the_first(tmp_path):
    first = write_tiny_model(tmp_path / "model")
    config = ModelConfig(folder=tmp_path / "model", sha256=first.digest)
    assert read_model(config).record == first
    write_tiny_model(tmp_path / "model", seed=1)
    with pytest.raises(ModelRejected, match="is not the one that these settings were made with"):
        read_model(config)


@pytest.fixture
def replaced(tmp_path):
    """Folder of a model, the record of another, and a function that writes a file of the other into the folder."""
    write_tiny_model(tmp_path / "model")
    record = write_tiny_model(tmp_path / "new", seed=1)
    return tmp_path / "model", record, lambda name: shutil.copy(tmp_path / "new" / name, tmp_path / "model" / name)


def test_a_model_that_a_training_replaces_is_read_when_it_is_complete(replaced, monkeypatch):
    model, record, write = replaced
    write("model.safetensors")
    written_while_waiting = SimpleNamespace(sleep=lambda seconds: seconds and write("model.yaml"))
    monkeypatch.setattr(folder, "time", written_while_waiting)
    with FolderLock(model):
        assert read_model(ModelConfig(folder=model)).record == record


def test_a_model_that_was_replaced_between_the_reads_of_both_files_is_read_again(replaced, monkeypatch):
    model, record, write = replaced

    def read_then_replace(path):
        read = read_record(path)
        write("model.safetensors"), write("model.yaml")
        return read

    monkeypatch.setattr(folder, "READ_INTERVAL", 0)
    monkeypatch.setattr(folder, "read_record", read_then_replace)
    assert read_model(ModelConfig(folder=model)).record == record


def test_a_model_is_refused_as_damaged_if_the_lock_outlasts_all_reads(replaced, monkeypatch):
    model, _, write = replaced
    write("model.safetensors")
    waits = []
    monkeypatch.setattr(folder, "time", SimpleNamespace(sleep=waits.append))
    with FolderLock(model), pytest.raises(ModelRejected, match="is damaged"):
        read_model(ModelConfig(folder=model))
    assert waits == [0, 0.2, 0.2, 0.2, 0.2]


def test_weights_are_stored_as_safetensors_and_options_as_yaml(model_folder):
    data = (model_folder / "model.safetensors").read_bytes()
    assert re.match(rb"\{.*generator\.first\.weight", data[8:])
    record = read_record(model_folder)
    assert record.generator == GeneratorConfig(name="tiny-tint", options={"strength": 1.0})
