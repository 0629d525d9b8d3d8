import pytest
from PIL import Image

from vitsplice.datasets import check as checks
from vitsplice.datasets.check import check
from vitsplice.errors import ConfigError, UserError
from vitsplice.images import EXAMPLE_PAIRS, example

APPLE, ORANGE, CAT, DOG = (path for name in EXAMPLE_PAIRS for path in example(name))


@pytest.fixture
def folder(tmp_path):
    for path in (APPLE, ORANGE, CAT, DOG):
        image = Image.open(path)
        image.thumbnail((160, 160))
        image.save(tmp_path / f"{path.stem}.png")
    return tmp_path


@pytest.fixture
def found(folder):
    """What is found in a manifest of these lines: (kind, pair, pairs, name of the image)."""

    def look(*lines, **options):
        head = "id,structure,appearance,structure_mask,appearance_mask,licence\n"
        (folder / "pairs.csv").write_text(head + "\n".join(lines))
        return [
            (finding.kind, finding.pair, finding.pairs, finding.image.rpartition("/")[2])
            for finding in check(folder / "pairs.csv", **options).findings
        ]

    return look


def size(path):
    with Image.open(path) as image:
        return image.size


def test_a_sound_set_has_no_findings(found, folder):
    Image.new("L", size(folder / "cat.png"), 255).save(folder / "mask.png")
    assert found("a,apple.png,orange.png,,,CC0", "b,cat.png,dog.png,mask.png,,CC0") == []
    checked = check(folder / "pairs.csv")
    assert (checked.pairs, checked.images, checked.masks) == (2, 4, 1)


def test_files_that_are_missing_or_broken(found, folder):
    (folder / "cut.png").write_bytes((folder / "cat.png").read_bytes()[:900])
    (folder / "text.jpg").write_text("no image")
    lines = ["a,gone.png,cut.png,,,CC0", "b,text.jpg,gone.png,,,CC0", "c,apple.png,dog.png,none.png,,CC0"]
    assert found(*lines) == [
        ("missing", "a", 2, "gone.png"),
        ("missing", "c", 1, "none.png"),
        ("broken", "a", 1, "cut.png"),
        ("broken", "b", 1, "text.jpg"),
    ]


def test_a_mask_of_another_size(found, folder):
    Image.new("L", (50, 50), 255).save(folder / "mask.png")
    lines = ["a,apple.png,cat.png,mask.png,,CC0", "b,apple.png,dog.png,mask.png,,CC0"]
    assert found(*lines) == [("mask-size", "a", 2, "mask.png")]


def test_only_pairs_whose_image_a_mask_does_not_fit_are_blamed(found, folder):
    Image.new("L", size(folder / "apple.png"), 255).save(folder / "mask.png")
    Image.new("RGB", (50, 50)).save(folder / "small.png")
    lines = ["a,apple.png,cat.png,mask.png,,CC0", "b,small.png,cat.png,mask.png,,CC0"]
    assert found(*lines) == [("mask-size", "b", 1, "mask.png")]


def test_a_black_mask_lets_nothing_through(found, folder):
    Image.new("L", size(folder / "apple.png")).save(folder / "mask.png")
    assert found("a,apple.png,cat.png,mask.png,,CC0") == [("black-mask", "a", 1, "mask.png")]


def test_copies(found, folder):
    (folder / "same.png").write_bytes((folder / "apple.png").read_bytes())
    Image.open(folder / "cat.png").save(folder / "near.jpg", quality=60)
    lines = ["a,apple.png,cat.png,,,CC0", "b,orange.png,same.png,,,CC0", "c,dog.png,near.jpg,,,CC0"]
    assert found(*lines) == [("duplicate", "b", 1, "same.png"), ("near-duplicate", "c", 1, "near.jpg")]


def test_pairs_of_one_image_and_pairs_that_repeat(found, folder):
    (folder / "same.png").write_bytes((folder / "apple.png").read_bytes())
    Image.open(folder / "cat.png").save(folder / "near.jpg", quality=60)
    lines = [
        "a,apple.png,./apple.png,,,CC0", "b,apple.png,same.png,,,CC0", "c,cat.png,near.jpg,,,CC0",
        "d,cat.png,dog.png,,,CC0", "e,dog.png,cat.png,,,CC0", "f,cat.png,../PARENT/dog.png,,,CC0",
    ]  # fmt: skip
    ignore = ["duplicate", "near-duplicate"]
    assert found(*[line.replace("PARENT", folder.name) for line in lines], ignore=ignore) == [
        ("same-image", "a", 1, ""),
        ("same-image", "b", 1, ""),
        ("same-image", "c", 1, ""),
        ("repeated-pair", "f", 1, ""),
    ]


def test_a_pair_without_a_licence_is_a_note_and_a_finding_where_one_is_required(found, folder):
    lines = ["a,apple.png,cat.png,,,CC0", "b,orange.png,dog.png,,,"]
    assert found(*lines, require_licence=True) == [("unlicensed", "b", 1, "")]
    assert found(*lines, require_licence=True, ignore=["unlicensed"]) == []
    assert found(*lines) == []
    (note,) = check(folder / "pairs.csv").notes
    assert (note.kind, note.pair) == ("unlicensed", "b")
    assert check(folder / "pairs.csv", ignore=["unlicensed"]).notes == ()


def test_a_image_of_many_pairs_is_looked_at_once(found, folder, monkeypatch):
    seen = []
    monkeypatch.setattr(checks, "look", lambda path, look=checks.look: seen.append(path.name) or look(path))
    found(*(f"p{number},cat.png,dog.png,,,CC0" for number in range(500)))
    assert seen == ["cat.png", "dog.png"]


def test_mistakes_are_named(found, folder):
    with pytest.raises(UserError, match="no kind 'licence' to ignore; there are missing, broken"):
        found("a,apple.png,cat.png,,,", ignore=["licence"])
    with pytest.raises(ConfigError, match="line 3: id 'a' comes a second time"):
        found("a,apple.png,cat.png,,,", "a,apple.png,cat.png,,,")
