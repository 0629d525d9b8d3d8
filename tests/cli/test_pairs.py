import json

import pytest
import torch

from vitsplice.images import encode_png


@pytest.fixture(autouse=True)
def _images(tmp_path):
    """A folder of four images."""
    (tmp_path / "images").mkdir()
    for number in range(4):
        grid = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(number))
        pixels = torch.nn.functional.interpolate(grid, size=(40, 48), mode="bilinear")
        (tmp_path / "images" / f"{number}.png").write_bytes(encode_png(pixels))


def test_built_manifest_has_no_issues(vitsplice):
    done = vitsplice("pairs", "build", "images", "-o", "out/pairs.csv", "--licence", "CC0", "--k", "2")
    assert (done.returncode, done.stdout) == (0, "out/pairs.csv\n"), done.stderr
    assert "images: read as a folder of images" in done.stderr
    assert "8 pairs" in done.stderr
    done = vitsplice("pairs", "check", "out/pairs.csv")
    assert (done.returncode, done.stdout) == (0, "8 pairs of 4 images and 0 masks: no issues\n")


def test_build_by_similarity_reports_progress_and_leaves_no_cache(vitsplice, tmp_path):
    arguments = ("pairs", "build", "images", "-o", "pairs.jsonl", "--by", "similarity", "--backbone", "tiny-vit")
    done = vitsplice(*arguments)
    assert done.returncode == 0, done.stderr
    assert "similarity by the appearance feature of tiny-vit" in done.stderr
    assert "0/4  0.png" in done.stderr
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "pairs.jsonl"]
    again = vitsplice(*arguments)
    assert (again.returncode, "--force" in again.stderr) == (2, True)


def test_check_prints_issues_as_a_table_or_as_json(vitsplice, tmp_path):
    lines = [f"p-{number},images/0.png,images/1.png\n" for number in range(12)]
    (tmp_path / "pairs.csv").write_text("id,structure,appearance\n" + "".join(lines))
    (tmp_path / "images" / "1.png").write_bytes(b"[red]")
    done = vitsplice("pairs", "check", "pairs.csv")
    assert done.returncode == 1
    assert "'images/1.png' is not an image" in done.stdout
    assert "p-0 and 11 more" in done.stdout
    assert "... and 1 more; --json prints all" in done.stdout
    assert done.stdout.endswith("12 pairs of 2 images and 0 masks: 1 corrupt, 11 duplicate-pair\n")
    assert "note: pairs without a licence: 12 of 12, such as 'p-0'; give the licence in the field" in done.stderr

    done = vitsplice("pairs", "check", "pairs.csv", "--json", "--ignore", "duplicate-pair")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["pairs"], report["images"], report["counts"]) == (12, 2, {"corrupt": 1})
    assert report["issues"][0]["image"] == "images/1.png"
    assert "is not an image" in report["issues"][0]["message"]
    assert len(report["notes"]) == 12


def test_check_prints_long_paths_in_full(vitsplice, tmp_path):
    path = f"{'folder/' * 12}{'x' * 80}.png"
    (tmp_path / "pairs.csv").write_text(f"id,structure,appearance\na,images/0.png,{path}\n")
    done = vitsplice("pairs", "check", "pairs.csv", COLUMNS="80")
    assert done.returncode == 1
    assert f"'{path}' does not exist" in done.stdout
    assert done.stdout.endswith("\n1 pair of 2 images and 0 masks: 1 missing\n")


def test_missing_licence_changes_the_exit_code_only_if_required(vitsplice):
    assert vitsplice("pairs", "build", "images", "-o", "pairs.csv").returncode == 0
    done = vitsplice("pairs", "check", "pairs.csv")
    assert (done.returncode, "pairs without a licence: 4 of 4" in done.stderr) == (0, True)
    assert done.stdout.endswith(": no issues\n")
    done = vitsplice("pairs", "check", "pairs.csv", "--require-licence")
    assert (done.returncode, "4 unlicensed" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "images"), "-o pairs.csv"),
        (("build", "none", "-o", "p.csv"), "none does not exist"),
        (("build", "empty", "-o", "p.csv"), "empty holds no images"),
        (("build", "images", "-o", "p.txt"), "must end in .csv or .jsonl"),
        (("build", "images", "-o", "p.csv", "--by", "name"), "needs two different folders"),
        (("build", "images", "empty", "-o", "p.csv"), "empty holds no images"),
        (("build", "images", "-o", "p.csv", "--k", "0"), "--k"),
        (("build", "images", "-o", "p.csv", "--by", "similarity", "--backbone", "nothing"), "no backbone 'nothing'"),
        (("check", "none.csv"), "none.csv does not exist"),
        (("check", "empty.csv"), "has no pairs"),
        (("check", "empty.csv", "--ignore", "all"), "cannot ignore 'all'"),
    ],
)
def test_invalid_arguments_exit_with_2_and_write_nothing(vitsplice, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("id,structure,appearance\n")
    done = vitsplice("pairs", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "p.csv").exists()
