from shutil import copytree

import pytest
from PIL import Image

from vitsplice.datasets import check as check_module
from vitsplice.datasets.check import check
from vitsplice.errors import ConfigError, ImageNotFound, UserError
from vitsplice.images import EXAMPLE_PAIRS, example


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thumbnails")
    for path in (path for name in EXAMPLE_PAIRS for path in example(name)):
        image = Image.open(path)
        image.thumbnail((160, 160))
        image.save(folder / f"{path.stem}.png")
    return folder


@pytest.fixture
def folder(thumbnails, tmp_path):
    return copytree(thumbnails, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def issues(folder):
    """Function that checks a manifest; returns (kind, first pair, number of pairs, name of image) of each issue."""

    def run(*lines, **options):
        header = "id,structure,appearance,structure_mask,appearance_mask,licence\n"
        (folder / "pairs.csv").write_text(header + "\n".join(lines))
        report = check(folder / "pairs.csv", **options)
        return [(issue.kind, issue.pair, issue.pairs, issue.image.rpartition("/")[2]) for issue in report.issues]

    return run


def write_mask(folder, size, value=255):
    """Write mask.png; ``size`` is (width, height) or the name of an image of that size."""
    if isinstance(size, str):
        with Image.open(folder / size) as image:
            size = image.size
    Image.new("L", size, value).save(folder / "mask.png")


def test_valid_manifest_has_no_issues(issues, folder):
    write_mask(folder, "cat.png")
    assert issues("a,apple.png,orange.png,,,CC0", "b,cat.png,dog.png,mask.png,,CC0") == []
    report = check(folder / "pairs.csv")
    assert (report.pairs, report.images, report.masks) == (2, 4, 1)


def test_missing_and_corrupt_files_are_issues(issues, folder):
    (folder / "cut.png").write_bytes((folder / "cat.png").read_bytes()[:900])
    (folder / "text.jpg").write_text("no image")
    lines = ["a,gone.png,cut.png,,,CC0", "b,text.jpg,gone.png,,,CC0", "c,apple.png,dog.png,none.png,cat.png/m.png,CC0"]
    assert issues(*lines) == [
        ("missing", "a", 2, "gone.png"),
        ("missing", "c", 1, "none.png"),
        ("missing", "c", 1, "m.png"),
        ("corrupt", "a", 1, "cut.png"),
        ("corrupt", "b", 1, "text.jpg"),
    ]


def test_mask_of_another_size_is_an_issue(issues, folder):
    write_mask(folder, (50, 50))
    lines = ["a,apple.png,cat.png,mask.png,,CC0", "b,apple.png,dog.png,mask.png,,CC0"]
    assert issues(*lines) == [("mask-size", "a", 2, "mask.png")]


def test_mask_size_concerns_only_pairs_with_an_image_of_another_size(issues, folder):
    write_mask(folder, "apple.png")
    Image.new("RGB", (50, 50)).save(folder / "small.png")
    lines = ["a,apple.png,cat.png,mask.png,,CC0", "b,small.png,cat.png,mask.png,,CC0"]
    assert issues(*lines) == [("mask-size", "b", 1, "mask.png")]


def test_black_mask_is_an_issue(issues, folder):
    write_mask(folder, "apple.png", 0)
    assert issues("a,apple.png,cat.png,mask.png,,CC0") == [("black-mask", "a", 1, "mask.png")]


def test_issue_of_a_mask_counts_only_pairs_with_the_file_as_a_mask_and_likewise_for_images(issues, folder):
    write_mask(folder, "cat.png", 0)
    (folder / "copy.png").write_bytes((folder / "mask.png").read_bytes())
    lines = ["a,mask.png,dog.png,,,CC0", "b,cat.png,dog.png,mask.png,copy.png,CC0"]
    lines += ["c,copy.png,orange.png,,,CC0", "d,cat.png,apple.png,mask.png,,CC0"]
    assert issues(*lines, ignore=["mask-size"]) == [
        ("black-mask", "b", 2, "mask.png"),
        ("black-mask", "b", 1, "copy.png"),
        ("duplicate-image", "c", 1, "copy.png"),
    ]


@pytest.mark.usefixtures("copies")
def test_issues_are_in_the_order_of_the_pairs_that_use_the_file_in_that_role(issues, folder):
    write_mask(folder, (64, 64), 0)
    (folder / "other.png").write_bytes((folder / "mask.png").read_bytes())
    lines = ["a,mask.png,orange.png,same.png,near.jpg,CC0", "b,apple.png,dog.png,other.png,,CC0"]
    lines += ["c,cat.png,orange.png,mask.png,,CC0", "d,same.png,near.jpg,,,CC0"]
    assert issues(*lines, ignore=["mask-size", "same-image"]) == [
        ("black-mask", "b", 1, "other.png"),
        ("black-mask", "c", 1, "mask.png"),
        ("duplicate-image", "d", 1, "same.png"),
        ("near-duplicate", "d", 1, "near.jpg"),
    ]


@pytest.mark.parametrize(("alphas", "black"), [((0, 0), True), ((0, 255), False), ((247, 255), False)])
def test_alpha_of_a_mask_is_the_mask(issues, folder, alphas, black):
    with Image.open(folder / "apple.png") as image:
        mask = Image.new("RGBA", image.size, (0, 0, 0, alphas[0]))
    mask.putpixel((5, 5), (0, 0, 0, alphas[1]))
    mask.save(folder / "mask.png")
    expected = [("black-mask", "a", 1, "mask.png")] if black else []
    assert issues("a,apple.png,cat.png,mask.png,,CC0") == expected


def test_mask_that_is_removed_during_the_check_is_an_issue(issues, folder, monkeypatch):
    def read_mask(path):
        raise ImageNotFound(f"{path} does not exist")

    write_mask(folder, "apple.png")
    monkeypatch.setattr(check_module, "read_mask", read_mask)
    assert issues("a,apple.png,cat.png,mask.png,,CC0") == [("missing", "a", 1, "mask.png")]


def test_unreadable_mask_is_not_black(issues, folder):
    (folder / "mask.png").write_bytes(b"x")
    assert issues("a,apple.png,cat.png,mask.png,,CC0") == [("corrupt", "a", 1, "mask.png")]


@pytest.fixture
def copies(folder):
    (folder / "same.png").write_bytes((folder / "apple.png").read_bytes())
    Image.open(folder / "cat.png").save(folder / "near.jpg", quality=60)


@pytest.mark.usefixtures("copies")
def test_duplicate_images_are_issues(issues):
    lines = ["a,apple.png,cat.png,,,CC0", "b,orange.png,same.png,,,CC0", "c,dog.png,near.jpg,,,CC0"]
    assert issues(*lines) == [("duplicate-image", "b", 1, "same.png"), ("near-duplicate", "c", 1, "near.jpg")]


@pytest.mark.usefixtures("copies")
def test_pairs_of_one_image_and_duplicate_pairs_are_issues(issues, folder):
    lines = [
        "a,apple.png,./apple.png,,,CC0", "b,apple.png,same.png,,,CC0", "c,cat.png,near.jpg,,,CC0",
        "d,cat.png,dog.png,,,CC0", "e,dog.png,cat.png,,,CC0", f"f,cat.png,../{folder.name}/dog.png,,,CC0",
    ]  # fmt: skip
    assert issues(*lines, ignore=["duplicate-image", "near-duplicate"]) == [
        ("same-image", "a", 1, ""),
        ("same-image", "b", 1, ""),
        ("same-image", "c", 1, ""),
        ("duplicate-pair", "f", 1, ""),
    ]


def test_missing_licence_is_a_note_or_an_issue_if_required(issues, folder):
    lines = ["a,apple.png,cat.png,,,CC0", "b,orange.png,dog.png,,,"]
    assert issues(*lines, require_licence=True) == [("unlicensed", "b", 1, "")]
    assert issues(*lines, require_licence=True, ignore=["unlicensed"]) == []
    assert issues(*lines) == []
    (note,) = check(folder / "pairs.csv").notes
    assert (note.kind, note.pair) == ("unlicensed", "b")
    assert check(folder / "pairs.csv", ignore=["unlicensed"]).notes == ()


@pytest.mark.slow
def test_image_of_many_pairs_is_read_once(issues, folder, monkeypatch):
    read, fingerprint = [], check_module.fingerprint
    monkeypatch.setattr(check_module, "fingerprint", lambda path: read.append(path.name) or fingerprint(path))
    issues(*(f"p{number},cat.png,dog.png,,,CC0" for number in range(50)))
    assert read == ["cat.png", "dog.png"]


def test_invalid_manifest_or_kind_is_refused(issues):
    with pytest.raises(UserError, match="cannot ignore 'licence': the kinds of issues are missing, corrupt"):
        issues("a,apple.png,cat.png,,,", ignore=["licence"])
    with pytest.raises(ConfigError, match="line 3: duplicate id 'a'"):
        issues("a,apple.png,cat.png,,,", "a,apple.png,cat.png,,,")
    with pytest.raises(UserError, match="has no pairs"):
        issues()


def test_every_appearance_image_and_region_of_a_pair_is_checked(folder):
    write_mask(folder, (50, 50))
    (folder / "pairs.csv").write_text(
        "id,structure,appearance,appearance_2,appearance_2_mask,region_1,region_2,licence\n"
        "a,apple.png,orange.png,apple.png,,mask.png=2,gone.png=1,CC0\n"
        "b,cat.png,dog.png,orange.png,mask.png,,,CC0\n"
    )
    report = check(folder / "pairs.csv")
    reported = [(issue.kind, issue.pair, issue.pairs, issue.image.rpartition("/")[2]) for issue in report.issues]
    assert reported == [
        ("missing", "a", 1, "gone.png"),
        ("mask-size", "a", 1, "mask.png"),
        ("mask-size", "b", 1, "mask.png"),
        ("same-image", "a", 1, ""),
    ]
    assert (report.pairs, report.images, report.masks) == (2, 4, 2)


def test_pairs_with_equal_images_and_other_weights_are_no_duplicates(folder):
    (folder / "pairs.csv").write_text(
        "id,structure,appearance,appearance_2,appearance_weight,licence\n"
        + "".join(f"{name},cat.png,dog.png,apple.png,{weight},CC0\n" for name, weight in [("a", 1), ("b", 2), ("c", 1)])
    )
    assert [(issue.kind, issue.pair) for issue in check(folder / "pairs.csv").issues] == [("duplicate-pair", "c")]


def test_equal_weights_count_as_no_weights(folder):
    (folder / "pairs.csv").write_text(
        "id,structure,appearance,appearance_2,appearance_weight,licence\n"
        "a,cat.png,dog.png,apple.png,,CC0\nb,cat.png,dog.png,apple.png,1,CC0\n"
    )
    assert [(issue.kind, issue.pair) for issue in check(folder / "pairs.csv").issues] == [("duplicate-pair", "b")]


def test_appearance_image_that_equals_the_structure_image_is_named(folder):
    (folder / "pairs.csv").write_text("id,structure,appearance,appearance_2,licence\na,cat.png,dog.png,./cat.png,CC0\n")
    (issue,) = check(folder / "pairs.csv").issues
    assert issue.message == f"its structure image and its appearance image '{folder / 'cat.png'}' are one file"
