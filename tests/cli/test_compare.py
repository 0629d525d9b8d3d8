BOTH = ("-b", "tiny-vit", "-b", "tiny-cnn", "--size", "64", "--style", "none")


def test_a_report_the_metrics_and_the_findings(vitsplice, png, tmp_path):
    done = vitsplice("compare", *png, *BOTH, "--transfers", "1", "--preset", "tiny", "--steps", "2", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/report.html"
    assert "2 images are too few to support a difference" in done.stderr
    assert done.stderr.startswith("0/6  tiny-vit, structure")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "cells", "compare.json", "differences.csv", "metrics.csv", "intervals.csv", "report.html", "transfers",
    }  # fmt: skip


def test_the_same_command_goes_on_and_another_is_refused(vitsplice, png):
    assert vitsplice("compare", *png, *BOTH, "--transfers", "0", "-o", "out").returncode == 0
    assert vitsplice("compare", *png, *BOTH, "--transfers", "0", "-o", "out").returncode == 0
    other = vitsplice("compare", *png, "-b", "tiny-vit", "--size", "64", "--style", "none", "-o", "out")
    assert (other.returncode, "another comparison" in other.stderr) == (2, True)


def test_mistakes_are_told(vitsplice, png, tmp_path):
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes()[:200])
    for arguments, told in (
        ((*png,), "at least one backbone"),
        ((png[0], *BOTH), "at least two images"),
        ((*png, "-b", "nonsense", "--style", "none"), "nonsense"),
        ((png[0], "nowhere.png", *BOTH), "nowhere.png"),
        ((png[0], "broken.png", *BOTH), "broken.png"),
        ((*png, *BOTH, "--style", "nowhere"), "nowhere"),
        ((*png, *BOTH, "--masks", "nowhere"), "nowhere"),
    ):
        done = vitsplice("compare", *arguments, "--transfers", "0", "-o", "out")
        assert done.returncode == 2, arguments
        assert told in done.stderr
        assert "Traceback" not in done.stderr
