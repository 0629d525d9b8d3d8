"""Commands and code that repeat a run."""

import shlex

import pytest

from tests.conftest import write_pair
from vitsplice.cli import main
from vitsplice.presets.changes import Changes
from vitsplice.runs.repeat import command_line, python_code

IMAGES = {"appearance_mask": "m.png", "appearance": "b's.png", "structure": "a b.jpg"}
CHANGES = Changes("quick", {"steps": 10, "structure_strength": 2.0}, ("terms.mine={loss: structure, weight: 2}",))


def test_command_line_is_quoted_and_in_the_order_of_the_help():
    command = command_line(IMAGES, CHANGES, "my out")
    assert shlex.split(command) == [
        *("vitsplice", "run", "a b.jpg", "b's.png", "--preset", "quick", "--steps", "10"),
        *("--structure-strength", "2.0", "--appearance-mask", "m.png"),
        *("--set", "terms.mine={loss: structure, weight: 2}", "-o", "my out"),
    ]


def test_path_that_begins_with_a_dash_is_no_option():
    command = command_line({"structure": "-s.png", "appearance": "a.png"}, Changes("quick"))
    assert shlex.split(command)[2:4] == ["./-s.png", "a.png"]


def test_weights_have_all_digits():
    images = {"structure": "s.png", "appearance": "a.png", "appearance_2": "b.png"}
    assert "b.png:0.12345678901" in command_line(images, CHANGES, weights=[1.0, 0.12345678901])


def test_equal_weights_are_left_out_only_if_they_are_1():
    images = {"structure": "s.png", "appearance": "a.png", "appearance_2": "b.png"}
    assert "--appearance a.png:3.0 --appearance b.png:3.0" in command_line(images, CHANGES, weights=[3.0, 3.0])
    assert "appearance_weights=[3.0, 3.0]" in python_code(images, CHANGES, weights=[3.0, 3.0])
    assert command_line(images, CHANGES, weights=[1.0, 1.0]) == command_line(images, CHANGES)


def test_python_code_names_only_what_differs_from_the_preset():
    code = python_code({"structure": "a.jpg", "appearance": "b.jpg"}, Changes("instant"))
    assert code == (
        "from vitsplice import splice\n\nresult = splice(\n    'a.jpg',\n    'b.jpg',\n    'instant',\n)\n"
        "result.save('vitsplice-out')\n"
    )


@pytest.mark.slow
def test_command_and_code_give_the_same_bytes(tmp_path, monkeypatch):
    structure, appearance = write_pair(tmp_path)
    images = {"structure": structure.name, "appearance": appearance.name, "structure_mask": appearance.name}
    changes = Changes("tiny", {"steps": 3, "seed": 4}, ("optimiser.lr=0.01",))
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command_line(images, changes, "cli"))[1:]) == 0
    exec(python_code(images, changes, "python"), {})
    for name in ("output.png", "run.yaml", "losses.csv"):
        assert (tmp_path / "cli" / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
