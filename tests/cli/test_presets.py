import pytest
import yaml


def test_presets_are_listed_and_printed(vitsplice):
    printed = vitsplice("presets").stdout
    assert "paper" in printed
    assert "official" in printed
    assert yaml.safe_load(vitsplice("presets", "show", "paper").stdout)["steps"] == 2000


@pytest.mark.slow
def test_printed_preset_is_accepted_by_run(vitsplice, png, tmp_path):
    (tmp_path / "mine.yaml").write_text(vitsplice("presets", "show", "tiny").stdout)
    done = vitsplice("run", "--preset", "mine.yaml", *png, "-o", "out", "--steps", 1)
    assert done.returncode == 0, done.stderr


LOST = """
from pathlib import Path

from vitsplice.contracts import PresetSpec
from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_presets():
    return [PresetSpec("lost", Path("/no/lost.yaml"), "without its file")]
"""


def test_show_of_a_preset_whose_file_is_missing_is_an_error_of_one_line(vitsplice, install_plugin):
    install_plugin("lost", LOST)
    done = vitsplice("presets", "show", "lost")
    assert (done.returncode, done.stderr) == (2, "error: preset file /no/lost.yaml does not exist\n")


def test_list_names_the_command_of_a_preset_once(vitsplice, install_plugin):
    install_plugin("lost", LOST.replace('"without its file"', '"without its file", "invert"'))
    lines = {line.split()[0]: line for line in vitsplice("presets").stdout.splitlines() if line}
    assert lines["lost"].endswith("without its file (for `vitsplice invert`)")
    assert lines["invert"].count("`vitsplice invert`") == 1
    assert "`" not in lines["paper"]
