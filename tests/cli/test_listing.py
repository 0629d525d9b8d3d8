import json
import sys

import pytest

from vitsplice.cli import listing
from vitsplice.cli.output import paragraphs, print_table

KINDS = ["backbones", "losses", "generators", "conditional_generators", "metrics", "presets", "executors"]


def test_filter_by_part_of_the_name(vitsplice):
    rows = json.loads(vitsplice("list", "backbones", "--filter", "dino-", "--json").stdout)
    assert [row["name"] for row in rows] == ["dino-vitb8", "dino-vits8", "dino-vitb16", "dino-vits16"]
    assert rows[0] == {
        "name": "dino-vitb8",
        "stride": 8,
        "size": 224,
        "parameters": 85_807_872,
        "licence": "apache-2.0",
        "weights": "hub timm/vit_base_patch8_224.dino",
        "cached": "no",
        "summary": "DINO v1 ViT-B/8, as in Splice",
    }


def test_cached_is_unknown_for_a_backbone_that_does_not_locate_its_weights(vitsplice):
    whole_name = "tiny-vi[t]"  # a pattern with a wildcard has to match the entire name
    (row,) = json.loads(vitsplice("list", "backbones", "--filter", whole_name, "--json").stdout)
    assert (row["name"], row["cached"]) == ("tiny-vit", "unknown")


@pytest.mark.parametrize(
    ("pattern", "names"), [("*unet", ["unet", "residual-unet"]), ("p*", ["pixels", "prior", "pyramid"])]
)
def test_filter_by_wildcards(vitsplice, pattern, names):
    rows = json.loads(vitsplice("list", "generators", "--filter", pattern, "--json").stdout)
    assert [row["name"] for row in rows] == names


def test_conditions_of_conditional_generators_are_listed(vitsplice):
    words = vitsplice("list", "conditional_generators", "--filter", "splicenet-residual").stdout
    assert "cls, start, warped" in words
    (row,) = json.loads(vitsplice("list", "conditional_generators", "--filter", "splicenet-r*", "--json").stdout)
    assert row["conditions"] == ["cls", "start", "warped"]


def test_empty_values_are_a_dash():
    assert [listing._cell(value) for value in ((), {}, "", None, 0)] == ["-"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_by_its_plural_and_singular(vitsplice, kind):
    done = vitsplice("list", kind)
    assert done.returncode == 0
    assert "summary" in done.stdout
    singular = "loss" if kind == "losses" else kind.removesuffix("s")
    assert vitsplice("list", singular, "--json").stdout == vitsplice("list", kind, "--json").stdout


def test_no_match_and_unknown_kind_are_errors(vitsplice):
    done = vitsplice("list", "losses", "--filter", "zzz")
    assert done.returncode == 2
    assert "no losses match 'zzz'" in done.stderr
    assert "'things' is not one of" in vitsplice("list", "things").stderr


def test_piped_table_has_one_line_for_each_row_even_at_80_columns(vitsplice, monkeypatch):
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (80, 24))
    head, *rows = vitsplice("list", "backbones", "--filter", "dino", COLUMNS="80").stdout.splitlines()
    assert head.split() == ["name", "stride", "size", "parameters", "licence", "weights", "cached", "summary"]
    assert [row.split()[0] for row in rows][:2] == ["dino-vitb8", "dino-vits8"]
    assert all("hub timm/" in row or "offline" in row for row in rows)


def test_narrow_terminal_shows_a_paragraph_for_each_row():
    rows = [["dino-vitb8", "8", "-", "hub timm/vit_base_patch8_224.dino", "DINO v1 ViT-B/8, as in Splice"]]
    lines = paragraphs(["name", "stride", "size", "weights", "summary"], rows, 40)
    assert lines == [
        "dino-vitb8",
        "  DINO v1 ViT-B/8, as in Splice",
        "  stride 8, weights hub",
        "  timm/vit_base_patch8_224.dino",
    ]


def test_paragraph_of_a_narrow_terminal_leaves_paths_whole():
    path = "/data/sets/afhq-v2/test/flickr-cat-000008.png"
    assert paragraphs(["kind", "problem"], [["missing", f"the image {path} does not exist"]], 30) == [
        "missing",
        "  the image",
        f"  {path}",
        "  does not exist",
    ]


def test_table_in_a_file_has_one_line_a_row_even_if_colour_is_forced(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("name", "stride", "summary"), [("dino-vitb8", "8", "DINO v1 ViT-B/8, as in Splice")])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_table_on_a_dumb_terminal_is_not_truncated(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    summary = "DINO v1 " * 20
    print_table(("name", "stride", "summary"), [("dino-vitb8", "8", summary)])
    assert " ".join(capsys.readouterr().out.split()) == f"dino-vitb8 {summary}stride 8"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "losses", "--filter", "zzz"),
        ("list", "losses"),
        ("plugin", "check", "zzz"),
        ("plugin", "check", "paper"),
    ],
)
def test_plugin_that_failed_to_load_is_reported(vitsplice, install_plugin, arguments):
    install_plugin("broken", "raise RuntimeError('no good')\n")
    assert (
        "plugin 'broken' failed to load: vitsplice_broken.py, line 1: RuntimeError: no good"
        in vitsplice(*arguments).stderr
    )
