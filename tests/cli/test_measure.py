import json
from functools import partial

import pytest

from vitsplice.matching import correspond
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.plugins import catalogue


@pytest.fixture(autouse=True)
def _small_match(monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.loss_terms.correspond", partial(correspond, grid=12))


@pytest.mark.slow
@pytest.mark.usefixtures("small_metrics")
def test_json_and_table_give_the_same_numbers(vitsplice, png, monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("lab-patches",))
    structure, appearance = png
    images = ("--structure", structure, "--appearance", appearance, "--output", appearance)
    arguments = ("measure", *images, "--backbone", "tiny-vit", "--size", 40)
    measurement = json.loads(vitsplice(*arguments, "--json").stdout)
    assert measurement["backbone"] == "tiny-vit"
    terms = {name: term["value"] for name, term in measurement["terms"].items()}
    assert terms["appearance"] == terms["identity"] == 0
    assert terms["structure"] > 0
    table = vitsplice(*arguments).stdout
    assert f"{terms['structure']:.6g}" in table
    assert f"{measurement['metrics']['lab-patches']['value']:.6g}" in table
    assert "lower is better" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure",), "--structure"),
        (("measure", "--structure", "none.png", "--appearance", "b", "--output", "c"), "'none.png' does not exist"),
    ],
)
def test_invalid_arguments_exit_with_2(vitsplice, arguments, message):
    done = vitsplice(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.weights
def test_terms_are_close_to_those_of_the_oracle(vitsplice, shared, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    numbers = json.loads((shared / "oracle" / "oracle.json").read_text())["pairs"]["cows"]
    terms = [catalogue().losses[name] for name in ("structure", "appearance", "identity")]
    monkeypatch.setattr("vitsplice.metrics.measure.loss_metrics", lambda _, size: loss_metrics(terms, size))
    monkeypatch.setattr("vitsplice.metrics.measure.select_run_metrics", lambda _: [])
    structure, appearance = (shared / "oracle" / f"cows_{role}_224.png" for role in ("structure", "appearance"))
    # each of the oracle's losses compares the same two images
    images = ("--structure", structure, "--appearance", structure, "--output", appearance)
    done = vitsplice("measure", *images, "--backbone", "dinov2-vits14-offline", "--size", 224, "--json")
    terms = {name: term["value"] for name, term in json.loads(done.stdout)["terms"].items()}
    assert terms["structure"] == pytest.approx(numbers["structure_loss_mse"], rel=1e-3)
    assert terms["appearance"] == pytest.approx(numbers["appearance_loss_mse_postnorm"], rel=1e-3)
    assert terms["identity"] == pytest.approx(numbers["identity_loss_mse"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("small_metrics")
def test_metrics_of_a_run_are_those_of_its_output_file(vitsplice, png, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.independent.CNN", "tiny-cnn")
    monkeypatch.setattr("vitsplice.metrics.measure.loss_metrics", lambda *_: [])
    structure, appearance = png
    networks = ("--backbone", "tiny-vit", "--set", "backbones.cnn.name=tiny-cnn", "--set", "match.grid=8")
    assert vitsplice("run", *png, "--preset", "instant", *networks, "-o", "out").returncode == 0
    images = ("--structure", structure, "--appearance", appearance, "--output", "out/output.png")
    measured = json.loads(vitsplice("measure", *images, "--backbone", "tiny-vit", "--size", 40, "--json").stdout)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    recorded = {metric["name"]: metric["value"] for metric in record["metrics"]}
    assert {name: metric["value"] for name, metric in measured["metrics"].items()} == recorded
