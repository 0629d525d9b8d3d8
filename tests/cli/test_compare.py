import pytest

BOTH = ("-b", "tiny-vit", "-b", "tiny-cnn", "--size", "64", "--style", "none")


@pytest.mark.usefixtures("small_metrics", "no_plots")
@pytest.mark.slow
def test_writes_report_and_tables_and_prints_findings(vitsplice, png, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("lab-patches",))
    done = vitsplice("compare", *png, *BOTH, "--transfers", "1", "--preset", "tiny", "--steps", "2", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/report.html"
    assert "2 images are too few to support a difference" in done.stderr
    assert done.stderr.startswith("0/6  tiny-vit, structure")  # parts: two images and a transfer for each backbone
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "encodings", "compare.json", "differences.csv", "metrics.csv", "intervals.csv", "report.html", "transfers",
    }  # fmt: skip


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_same_command_resumes_and_another_is_refused(vitsplice, png, tmp_path):
    stored = []
    for _ in range(2):
        assert vitsplice("compare", *png, *BOTH, "--transfers", "0", "-o", "out").returncode == 0
        stored.append({path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "encodings").iterdir()})
    assert stored[0] == stored[1] != {}
    other = vitsplice("compare", *png, "-b", "tiny-vit", "--size", "64", "--style", "none", "-o", "out")
    assert (other.returncode, "another comparison" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--transfers", "1", "--preset", "tinyy"), "tinyy"),
        (("--transfers", "3"), "--transfers 3 is not allowed; it must be 0 to 2, the number of images"),
    ],
)
def test_invalid_transfers_are_reported_before_anything_is_computed(vitsplice, png, tmp_path, arguments, message):
    done = vitsplice("compare", *png, *BOTH, *arguments, "-o", "out")
    assert (done.returncode, message in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("structure.png", "appearance.png"), "at least one backbone"),
        (("structure.png", *BOTH), "at least two images"),
        (("structure.png", "appearance.png", "-b", "nonsense", "--style", "none"), "nonsense"),
        (("structure.png", "nowhere.png", *BOTH), "nowhere.png"),
        (("structure.png", "broken.png", *BOTH), "broken.png"),
        (("structure.png", "appearance.png", *BOTH, "--style", "nowhere"), "nowhere"),
        (("structure.png", "appearance.png", *BOTH, "--masks", "nowhere"), "nowhere"),
    ],
)
def test_invalid_arguments_are_reported(vitsplice, png, tmp_path, arguments, message):
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes()[:200])
    done = vitsplice("compare", *arguments, "--transfers", "0", "-o", "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
