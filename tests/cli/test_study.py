import json

import pytest

from tests.study.conftest import make_plan, make_result, prefer
from vitsplice.datasets import Pair, write


@pytest.fixture
def study(png, tmp_path):
    """Write a manifest of two pairs without a common image, and two folders of outputs; return the arguments."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number, source in enumerate(png):
            (tmp_path / name / f"pair-{number}.png").write_bytes(source.read_bytes())
    write(tmp_path / "pairs.csv", [Pair(f"pair-{number}", path, path) for number, path in enumerate(png)])
    return ("pairs.csv", "--method", "ours=one", "--method", "theirs=two")


def test_make_writes_a_page_and_its_plan(vitsplice, study, tmp_path):
    done = vitsplice("study", "make", *study, "-o", "out/study.html", "--checks", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/study.html\n"
    assert "2 pairs, 2 methods; 2 trials and 2 checks for each rater" in done.stderr
    assert "ours and theirs have the same image for 2 of 2 pairs" in done.stderr
    assert "plan for the analysis, not for raters: out/study.plan.json" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"study.html", "study.plan.json"}
    assert json.loads((tmp_path / "out" / "study.plan.json").read_text())["methods"] == ["ours", "theirs"]


def test_make_counts_a_single_pair_and_trial_in_the_singular(vitsplice, study, png, tmp_path):
    write(tmp_path / "pairs.csv", [Pair("pair-0", png[0], png[1])])
    done = vitsplice("study", "make", *study, "-o", "study.html", "--checks", "0")
    assert done.returncode == 0, done.stderr
    assert "1 pair, 2 methods; 1 trial and 0 checks for each rater; the page has 0.0 MB" in done.stderr


def test_make_rejects_invalid_arguments(vitsplice, study, tmp_path):
    (tmp_path / "empty.csv").write_text("id,structure,appearance\n")
    (tmp_path / "there.html").touch()
    (tmp_path / "planned.plan.json").touch()
    (tmp_path / "folder.plan.json").mkdir()
    for arguments, message in (
        ((*study, "-o", "there.html"), "--force"),
        ((*study, "-o", "planned.html"), "planned.plan.json"),
        ((*study, "-o", "one"), "is a folder"),
        ((*study, "-o", "folder.html"), "folder.plan.json is a folder; give the name of the page, such as study.html"),
        ((*study, "-o", "x.html", "--trials", "3"), "--trials 3 is more than the 2 comparisons"),
        ((*study, "-o", "x.html", "--checks", "9"), "--checks 9 is more than the 4 possible checks"),
        ((*study[:3], "-o", "x.html"), "two or more methods"),
        ((*study[:4], "theirs=none", "-o", "x.html"), "none"),
        (("empty.csv", *study[1:], "-o", "x.html"), "contains no pairs"),
        (("none.csv", *study[1:], "-o", "x.html"), "none.csv does not exist"),
        ((*study, "-o", "x.html", "--size", "1"), "--size"),
    ):
        done = vitsplice("study", "make", *arguments)
        assert done.returncode == 2, message
        assert message in done.stderr
        assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("name", ["pairs.csv", "one/pair-0.png", "photo.png"])
def test_make_never_replaces_its_inputs(vitsplice, study, png, tmp_path, name):
    (tmp_path / "photo.png").symlink_to(png[0])
    before = (tmp_path / name).read_bytes()
    done = vitsplice("study", "make", *study, "-o", name, "--checks", "0", "--force")
    assert (done.returncode, "would be replaced or removed; move it" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / name).read_bytes() == before


PLAN = make_plan(10, ("ours", "theirs"), question="Q [bold]?")


def write_files(tmp_path, *raters, plan=PLAN):
    """Write `PLAN`, and results for ``plan`` of raters who prefer ours for all pairs except pair-0."""
    (tmp_path / "results").mkdir(exist_ok=True)
    (tmp_path / "study.plan.json").write_bytes(PLAN.to_bytes())
    ours, theirs = prefer("ours", "theirs"), prefer("theirs", "ours")
    for rater in raters:
        result = make_result(plan, rater, lambda trial: (theirs if trial.pair == "pair-0" else ours)(trial))
        (tmp_path / "results" / f"{rater}.json").write_text(json.dumps(result))


ANALYSE = ("study", "analyse", "results", "--plan", "study.plan.json")


def test_analyse_prints_a_table_and_writes_files(vitsplice, tmp_path):
    write_files(tmp_path, "one", "two")
    (tmp_path / "results" / "copy.json").write_bytes((tmp_path / "results" / "two.json").read_bytes())
    (tmp_path / "results" / "three.txt").write_text("{}")
    done = vitsplice(*ANALYSE, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "Q [bold]?" in done.stdout
    assert "ours over theirs" in done.stdout
    assert "90.0 %" in done.stdout
    assert "excluded: two" in done.stderr
    assert "note: not read: 1 other file in the folders, such as results/three.txt; names of" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"analysis.json", "analysis.csv", "analysis.md"}
    assert json.loads((tmp_path / "out" / "analysis.json").read_text())["plan"] == PLAN.digest
    again = vitsplice(*ANALYSE, "-o", "out")
    assert (again.returncode, "already holds an analysis" in again.stderr) == (2, True)
    assert vitsplice(*ANALYSE, "-o", "out", "--force").returncode == 0


def test_analysis_can_be_written_to_the_folder_of_the_results(vitsplice, tmp_path):
    write_files(tmp_path, "one", "two")
    for force in ((), ("--force",)):
        assert vitsplice(*ANALYSE, "-o", "results", *force).returncode == 0


def test_analysis_replaces_no_result_but_an_earlier_analysis(vitsplice, tmp_path):
    write_files(tmp_path, "one", "analysis")
    result = tmp_path / "results" / "analysis.json"
    before = result.read_bytes()
    analyse = (*ANALYSE[:2], "results/one.json", result, *ANALYSE[3:], "-o", "results", "--force")
    done = vitsplice(*analyse)
    assert (done.returncode, "analysis.json is an output file in" in done.stderr) == (2, True), done.stderr
    assert result.read_bytes() == before
    result.write_text("{}")
    assert vitsplice(*analyse).returncode == 0


def test_results_of_another_study_and_invalid_files_are_listed_as_excluded(vitsplice, tmp_path):
    write_files(tmp_path, "one", "two")
    write_files(tmp_path, "three", plan=make_plan(9, ("ours", "theirs")))
    (tmp_path / "results" / "corrupt\x1b[31m.json").write_text("{")
    done = vitsplice(*ANALYSE)
    assert done.returncode == 0, done.stderr
    assert "2 raters included, 2 results excluded" in done.stdout
    assert "excluded: three (results/three.json): of another study" in done.stderr
    assert "excluded: unknown rater (results/corrupt [31m.json): not the result of a study" in done.stderr


def test_analyse_rejects_invalid_arguments(vitsplice, tmp_path):
    write_files(tmp_path, "one")
    (tmp_path / "changed.plan.json").write_text(json.dumps(PLAN.data() | {"trials": 5}))
    plan = ("--plan", "study.plan.json")
    for arguments, message in (
        (("results",), "--plan study.plan.json"),
        (("results", "--plan", "results/one.json"), "is not the plan of a study"),
        (("results", "--plan", "changed.plan.json"), "was changed after it was written"),
        (("results", "--plan", "none.json"), "none.json does not exist"),
        (("none.json", *plan), "none.json does not exist"),
        (("results/one.json", *plan, "--min-ms", "9000"), "results are excluded"),
        (("results/one.json", *plan, "-o", "results/one.json"), "is a file"),
    ):
        done = vitsplice("study", "analyse", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
