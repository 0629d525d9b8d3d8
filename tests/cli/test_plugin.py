import json

import pytest


def test_new_writes_a_folder_and_prints_the_next_step(vitsplice, tmp_path):
    done = vitsplice("plugin", "new", "mine", "--kind", "loss")
    assert done.returncode == 0
    assert done.stdout.strip() == "vitsplice-mine"
    assert "pip install" in done.stderr
    assert (tmp_path / "vitsplice-mine" / "pyproject.toml").is_file()
    repeated = vitsplice("plugin", "new", "mine", "--kind", "loss")
    assert repeated.returncode == 2
    assert "already exists" in repeated.stderr


@pytest.mark.slow
def test_check_prints_a_line_for_each_requirement(vitsplice):
    done = vitsplice("plugin", "check", "structure")
    assert done.returncode == 0, done.stdout
    assert "losses 'structure'" in done.stdout
    assert "ok       The value is a finite float32 scalar." in done.stdout
    assert "no check failed" in done.stdout


def test_check_prints_the_reason_of_a_failure(vitsplice):
    done = vitsplice("plugin", "check", "tiny-gone")
    assert done.returncode == 1
    assert done.stdout.count("FAILED") == 1
    assert "The part can be built." in done.stdout
    assert "the weights of 'tiny-gone' are unavailable (the other 2" in done.stdout
    assert done.stdout.endswith("1 failed\n")


def test_check_prints_json(vitsplice):
    results = json.loads(vitsplice("plugin", "check", "paper", "--json").stdout)
    assert {result["outcome"] for result in results["presets 'paper'"]} == {"passed"}


def test_check_of_an_unknown_name_suggests_a_known_one(vitsplice):
    done = vitsplice("plugin", "check", "dino-vitb9")
    assert done.returncode == 2
    assert "dino-vitb8" in done.stderr


def test_check_of_a_plugin_that_is_not_installed_advises_to_install_it(vitsplice):
    done = vitsplice("plugin", "check", "my-preset")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()[:2]
    assert first == "error: no part and no plugin has the name 'my-preset'"
    assert "pip install -e FOLDER" in second


def test_check_of_a_command_says_that_it_has_no_contract(vitsplice):
    done = vitsplice("plugin", "check", "measure")
    assert (done.returncode, "'measure' is a command; there are contracts of" in done.stderr) == (2, True)


EXITS = """
from vitsplice.contracts import GeneratorSpec
from vitsplice.hookspecs import hookimpl

def build(channels, options):
    raise SystemExit(0)

@hookimpl
def vitsplice_generators():
    return [GeneratorSpec("exits", build, "a generator")]
"""


def test_check_of_a_part_that_exits_fails(vitsplice, install_plugin):
    install_plugin("exits", EXITS)
    done = vitsplice("plugin", "check", "exits")
    assert done.returncode == 1
    assert "SystemExit" in done.stdout


NO_GENERATOR = """
from vitsplice.contracts import GeneratorSpec
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_generators():
    return [GeneratorSpec("none", lambda image, options: BODY, "no generator")]
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("None", "the build function of generator 'none' of plugin none returned None, not an instance of Module"),
        ("options['no']", "building generator 'none' of plugin none failed: vitsplice_none.py, line 7: KeyError: 'no'"),
    ],
    ids=["None", "KeyError"],
)
def test_check_of_a_generator_that_cannot_be_built_fails_once(vitsplice, install_plugin, body, reason):
    install_plugin("none", NO_GENERATOR.replace("BODY", body))
    done = vitsplice("plugin", "check", "none")
    assert done.returncode == 1
    assert f"{reason} (the other " in done.stdout
    assert done.stdout.endswith("1 failed\n")


NOT_A_TERM = """
from vitsplice.contracts import LossSpec
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_losses():
    return [LossSpec("three", lambda context: 3, "not a term", "structure", "structure")]
"""


def test_check_of_a_loss_whose_build_returns_no_term_fails_once(vitsplice, install_plugin):
    install_plugin("three", NOT_A_TERM)
    done = vitsplice("plugin", "check", "three")
    assert done.returncode == 1
    assert (
        "the build function of loss term 'three' of plugin three returned an int, not an instance of LossTerm ("
        in done.stdout
    )
    assert done.stdout.endswith("1 failed\n")


def test_check_of_a_plugin_that_failed_to_load_shows_its_traceback_with_debug(vitsplice, install_plugin):
    install_plugin("deep", 'x=1\ny={}["k"]')
    message = "error: plugin 'deep' failed to load: vitsplice_deep.py, line 2: KeyError: 'k'\n"
    assert vitsplice("plugin", "check", "deep").stderr.endswith(message)
    debugged = vitsplice("plugin", "check", "deep", "--debug")
    assert debugged.returncode == 2
    assert '    y={}["k"]\n' in debugged.stderr
    assert debugged.stderr.endswith(message)


HEAVY = """
from importlib.resources import files

import torch

from vitsplice.contracts import PresetSpec
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_presets():
    return [PresetSpec("heavy", files("vitsplice") / "presets" / "paper.yaml", "a preset")]
"""


@pytest.mark.slow
def test_import_of_torch_is_reported_only_for_the_plugin_that_imports_it(vitsplice, install_plugin, tmp_path):
    install_plugin("heavy", HEAVY)
    # In the process that lists the parts, this module takes the place of torch, whose import takes seconds.
    # With None in its place, the check does not try to restore torch's defaults.
    (tmp_path / "torch.py").write_text("import sys\nsys.modules['torch'] = None\n")
    (results,) = json.loads(vitsplice("plugin", "check", "heavy", "--json").stdout).values()
    assert [result["reason"] for result in results if result["outcome"] == "failed"] == ["listing imports torch"]
    assert vitsplice("plugin", "check", "paper").returncode == 0


COMMAND = """
from vitsplice.contracts import CommandSpec
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_commands():
    return [CommandSpec("greet", print, "Greet.")]
"""

UNLISTED = """
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_backbone_for(name):
    return None
"""


@pytest.mark.parametrize(("name", "code", "advice"), [("commands", COMMAND, False), ("unlisted", UNLISTED, True)])
def test_check_of_a_plugin_that_lists_no_part_with_a_contract_is_refused(vitsplice, install_plugin, name, code, advice):
    install_plugin(name, code)
    done = vitsplice("plugin", "check", name)
    assert done.returncode == 2
    assert f"plugin '{name}' lists no part that has a contract; there are contracts of backbones" in done.stderr
    assert ("give the name of that backbone" in done.stderr) == advice


def test_check_of_a_name_that_two_plugins_provide_names_them(vitsplice, install_plugin):
    for name in ("one", "two"):
        install_plugin(name, NOT_A_TERM)
    done = vitsplice("plugin", "check", "three")
    assert done.returncode == 2
    assert "vitsplice-one and vitsplice-two each provide the loss term 'three'" in done.stderr
