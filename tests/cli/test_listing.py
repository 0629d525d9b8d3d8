import json

import pytest

from vitsplice.cli.tables import paragraphs
from vitsplice.plugins import catalogue


def test_backbones_by_a_part_of_their_name(vitsplice):
    found = json.loads(vitsplice("list", "backbones", "--filter", "dino-", "--json").stdout)
    assert [row["name"] for row in found] == ["dino-vitb8", "dino-vits8", "dino-vitb16", "dino-vits16"]
    assert found[0] == {
        "name": "dino-vitb8",
        "patch": 8,
        "size": 224,
        "parameters": 85_807_872,
        "licence": "Apache-2.0",
        "weights": "hub timm/vit_base_patch8_224.dino",
        "here": "no",
        "summary": "DINO v1 ViT-B/8, the paper's",
    }


@pytest.mark.parametrize(
    ("pattern", "names"), [("*unet", ["unet", "residual-unet"]), ("p*", ["pixels", "prior", "pyramid"])]
)
def test_wildcards(vitsplice, pattern, names):
    found = json.loads(vitsplice("list", "generators", "--filter", pattern, "--json").stdout)
    assert [row["name"] for row in found] == names


@pytest.mark.parametrize("kind", ["backbones", "losses", "generators", "metrics", "presets", "executors"])
def test_every_kind_has_a_table(vitsplice, kind):
    done = vitsplice("list", kind)
    assert done.returncode == 0
    assert "summary" in done.stdout


def test_nothing_of_that_name(vitsplice):
    done = vitsplice("list", "losses", "--filter", "zzz")
    assert done.returncode == 2
    assert "no losses match 'zzz'" in done.stderr
    assert "'things' is not one of" in vitsplice("list", "things").stderr


@pytest.mark.parametrize("kind", ["backbone", "loss", "generator", "metric", "preset", "executor"])
def test_a_kind_may_be_named_in_the_singular(vitsplice, kind):
    plural = f"{kind}es" if kind == "loss" else f"{kind}s"
    assert vitsplice("list", kind, "--json").stdout == vitsplice("list", plural, "--json").stdout


def test_a_table_that_is_piped_has_one_line_a_part_whatever_the_width(vitsplice, monkeypatch):
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (80, 24))
    lines = vitsplice("list", "backbones", "--filter", "dino", COLUMNS="80").stdout.splitlines()
    head, *rows = lines
    assert head.split() == ["name", "patch", "size", "parameters", "licence", "weights", "here", "summary"]
    assert [row.split()[0] for row in rows][:2] == ["dino-vitb8", "dino-vits8"]
    assert all("hub timm/" in row or "offline" in row for row in rows)


def test_on_a_narrow_terminal_each_part_is_a_paragraph_that_fits():
    rows = [["dino-vitb8", "8", "-", "hub timm/vit_base_patch8_224.dino", "DINO v1 ViT-B/8, the paper's"]]
    lines = paragraphs(["name", "patch", "size", "weights", "summary"], rows, 40)
    assert lines == [
        "dino-vitb8",
        "  DINO v1 ViT-B/8, the paper's",
        "  patch 8, weights hub",
        "  timm/vit_base_patch8_224.dino",
    ]


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """An installed plugin that fails to load."""
    (tmp_path / "vitsplice_broken.py").write_text("raise RuntimeError('no good')\n")
    info = tmp_path / "vitsplice_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vitsplice-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vitsplice]\nbroken = vitsplice_broken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "losses", "--filter", "zzz"),
        ("list", "losses"),
        ("plugin", "check", "zzz"),
        ("plugin", "check", "paper"),
    ],
)
def test_a_plugin_that_failed_to_load_is_mentioned(vitsplice, broken, arguments):
    assert "plugin 'broken' failed to load: RuntimeError: no good" in vitsplice(*arguments).stderr
