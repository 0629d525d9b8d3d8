import json

import pytest

from vitsplice.batch import worker
from vitsplice.batch.plan import run_folder
from vitsplice.contracts import Executor, ExecutorSpec, Option
from vitsplice.datasets import Pair, write
from vitsplice.plugins import catalogue

TINY = ("--preset", "tiny", "--steps", "2", "--set", "plots=none", "--set", "previews=0")


@pytest.fixture
def pairs(png, tmp_path):
    path = tmp_path / "pairs.csv"
    write(path, [Pair(name, png[0], png[1]) for name in ("one", "two")])
    return path


@pytest.fixture
def here(monkeypatch, vitsplice):
    """The command with an executor that works in this process."""
    from tests.batch.conftest import SequentialExecutor

    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: SequentialExecutor())
    worker._backbones.cache_clear()
    return vitsplice


def test_a_grid_of_runs(here, pairs, tmp_path):
    done = here("batch", pairs, "-o", "out", *TINY, "--seed", 1, "--seed", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/results.jsonl"
    assert "4 of 4 runs done, 0 failed" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {(line["id"], line["variant"]) for line in lines} == {
        (pair, f"tiny_seed{seed}") for pair in ("one", "two") for seed in (1, 2)
    }
    for line in lines:
        assert (tmp_path / "out" / line["folder"] / "output.png").is_file()
    again = here("batch", pairs, "-o", "out", *TINY, "--seed", 1, "--seed", 2)
    assert again.returncode == 0
    assert "4 of 4 runs done (4 of them before), 0 failed" in again.stderr


def test_the_same_bytes_as_run(here, pairs, png, tmp_path):
    assert here("batch", pairs, "-o", "out", *TINY).returncode == 0
    assert here("run", *png, "-o", "alone", *TINY).returncode == 0
    made = tmp_path / "out" / run_folder("tiny", "one")
    for name in ("output.png", "losses.csv", "run.yaml"):
        assert (made / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_failure_is_told_and_the_exit_code_is_1(here, pairs, png, tmp_path):
    write(pairs, [Pair("bad", tmp_path / "gone\x1b.png", png[1]), Pair("good", *png)])
    done = here("batch", pairs, "-o", "out", *TINY)
    assert done.returncode == 1
    assert "1 of 2 runs done, 1 failed" in done.stderr
    assert "tiny/bad: " in done.stderr
    assert "gone" in done.stderr
    assert "\x1b" not in done.stderr
    assert "gone" in (tmp_path / "out" / "failures.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.csv",), "nowhere.csv"),
        (("pairs.txt",), "must end in .csv or .jsonl"),
        (("pairs.csv", "--preset", "tinny"), "tiny"),
        (("pairs.csv", "--executor", "locale"), "did you mean 'local'"),
        (("pairs.csv", "--option", "x=1"), "no such option"),
        (("pairs.csv", "--option", "x"), "name=value"),
        (("pairs.csv", "--backbone", "no-such-net"), "no-such-net"),
        (("pairs.csv", "--set", "stepz=3"), "stepz"),
        (("pairs.csv", "--preset", "tiny", "--preset", "tiny"), "'tiny'"),
        (("pairs.csv", "-o", "file"), "is a file"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(here, pairs, tmp_path, arguments, told):
    (tmp_path / "file").write_text("")
    (tmp_path / "pairs.txt").write_text("")
    before = set(tmp_path.iterdir())
    done = here("batch", *arguments, *(() if "-o" in arguments else ("-o", "out")))
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_other_settings_are_refused(here, pairs):
    assert here("batch", pairs, "-o", "out", *TINY).returncode == 0
    done = here("batch", pairs, "-o", "out", "--preset", "tiny")
    assert done.returncode == 2
    assert "other settings" in done.stderr


def test_a_list_without_pairs_is_a_mistake(here, pairs, tmp_path):
    write(pairs, [])
    done = here("batch", pairs, "-o", "out", *TINY)
    assert (done.returncode, "has no pairs" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_threads_are_those_that_the_batch_was_begun_with(here, pairs, monkeypatch):
    asked = []

    def build(workers: int, threads: int, options) -> Executor:
        from tests.batch.conftest import SequentialExecutor

        asked.append((workers, threads, dict(options)))
        made = SequentialExecutor()
        made.threads = threads or 3
        return made

    spec = ExecutorSpec("mine", build, "mine", {"depth": Option(1, "how deep", minimum=1)})
    monkeypatch.setattr(type(catalogue()), "executor", lambda self, name: spec)
    assert here("batch", pairs, "-o", "out", *TINY, "--workers", 5, "--option", "depth=2").returncode == 0
    assert here("batch", pairs, "-o", "out", *TINY).returncode == 0
    assert asked == [(5, 0, {"depth": 2}), (0, 3, {"depth": 1})]
    assert here("batch", pairs, "-o", "out", *TINY, "--threads", 2).returncode == 2
