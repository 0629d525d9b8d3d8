import json

import pytest

from vitsplice.pairs import Pair, write


@pytest.fixture
def study(png, tmp_path):
    """A manifest of two unrelated pairs and two folders of outputs."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number, source in enumerate(png):
            (tmp_path / name / f"pair-{number}.png").write_bytes(source.read_bytes())
    write(tmp_path / "pairs.csv", [Pair(f"pair-{number}", path, path) for number, path in enumerate(png)])
    return ("pairs.csv", "--method", "ours=one", "--method", "theirs=two")


def test_make_writes_one_page(vitsplice, study, tmp_path):
    done = vitsplice("study", "make", *study, "-o", "out/study.html", "--checks", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/study.html\n"
    assert "2 pairs, 2 methods; a rater has 2 trials and 2 checks" in done.stderr
    assert "ours and theirs have the same picture for 2 of 2 pairs" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["study.html"]


def test_make_tells_mistakes(vitsplice, study, tmp_path):
    (tmp_path / "empty.csv").write_text("id,structure,appearance\n")
    (tmp_path / "there.html").touch()
    for arguments, told in (
        ((*study, "-o", "there.html"), "--force"),
        ((*study, "-o", "one"), "is a folder"),
        ((*study, "-o", "x.html", "--trials", "3"), "more than there are"),
        ((*study, "-o", "x.html", "--checks", "9"), "more than there can be"),
        ((*study[:3], "-o", "x.html"), "two or more methods"),
        ((*study[:4], "theirs=none", "-o", "x.html"), "none is no folder"),
        (("empty.csv", *study[1:], "-o", "x.html"), "holds no pairs"),
        (("none.csv", *study[1:], "-o", "x.html"), "cannot read"),
        ((*study, "-o", "x.html", "--size", "1"), "--size"),
    ):
        done = vitsplice("study", "make", *arguments)
        assert done.returncode == 2, told
        assert told in done.stderr
        assert not (tmp_path / "x.html").exists()


def results(tmp_path, *raters, study="0123"):
    (tmp_path / "results").mkdir(exist_ok=True)
    for rater in raters:
        trials = [
            {"pair": f"p{number}", "set": "", "left": "ours", "right": "theirs", "milliseconds": 2000, "check": False,
             "passed": None, "choice": "right" if number == 0 else "left"}
            for number in range(10)
        ]  # fmt: skip
        made = {
            "kind": "vitsplice study result", "schema": 1, "study": study, "title": "T", "question": "Q [bold]?",
            "methods": ["ours", "theirs"], "rater": rater, "began": "", "finished": "x", "planned": 10,
            "trials": trials, "user_agent": "", "screen": {"width": 1, "height": 1, "ratio": 1},
        }  # fmt: skip
        (tmp_path / "results" / f"{rater}.json").write_text(json.dumps(made))


def test_analyse_prints_a_table_and_writes_files(vitsplice, tmp_path):
    results(tmp_path, "one", "two")
    (tmp_path / "results" / "copy.json").write_bytes((tmp_path / "results" / "two.json").read_bytes())
    done = vitsplice("study", "analyse", "results", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "Q [bold]?" in done.stdout
    assert "ours over theirs" in done.stdout
    assert "90.0 %" in done.stdout
    assert "excluded: two" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"analysis.json", "analysis.csv", "analysis.md"}
    again = vitsplice("study", "analyse", "results", "-o", "out")
    assert (again.returncode, "already holds an analysis" in again.stderr) == (2, True)
    assert vitsplice("study", "analyse", "results", "-o", "out", "--force").returncode == 0


def test_analyse_in_the_folder_of_the_results(vitsplice, tmp_path):
    results(tmp_path, "one", "two")
    for force in ((), ("--force",)):
        assert vitsplice("study", "analyse", "results", "-o", "results", *force).returncode == 0


def test_analyse_tells_mistakes(vitsplice, tmp_path):
    results(tmp_path, "one")
    results(tmp_path, "two", study="4567")
    for arguments, told in (
        (("results",), "2 studies"),
        (("none.json",), "cannot read"),
        (("results/one.json", "--min-ms", "9000"), "no rater is left"),
        (("results/one.json", "-o", "results/one.json"), "is a file"),
    ):
        done = vitsplice("study", "analyse", *arguments)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
