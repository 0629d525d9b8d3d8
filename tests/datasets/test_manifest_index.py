import pytest

from vitsplice.datasets.manifest_index import ABSENT, ALL, IMAGES, MASKS, ManifestIndex


def test_number_of_a_file_does_not_depend_on_its_path(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "pairs.csv").write_text(
        "id,structure,appearance,appearance_mask,licence\n"
        "one,a.png,b.png,m.png,CC0\n"
        f"two,./link.png,{tmp_path}/a.png,,\n"
        "three,b.png,c.png,,\n"
    )
    index = ManifestIndex.read(tmp_path / "pairs.csv")
    assert index.rows.tolist() == [[0, 1, ABSENT, 2], [0, 0, ABSENT, ABSENT], [1, 3, ABSENT, ABSENT]]
    assert [path.name for path in index.files] == ["a.png", "b.png", "m.png", "c.png"]
    assert index.unlicensed == ["two", "three"]


@pytest.mark.parametrize(
    ("columns", "pairs", "first"),
    [
        (ALL, [2, 3, 2, 2, 2], [0, 0, 0, 0, 1]),
        (IMAGES, [2, 3, 2, 0, 1], [0, 0, 0, -1, 2]),
        (MASKS, [0, 0, 0, 2, 1], [-1, -1, -1, 0, 1]),
    ],
)
def test_pair_counts_once_for_each_file_in_the_columns(tmp_path, columns, pairs, first):
    """Pair one has three rows; m.png is a mask only, n.png a mask of pair two and an image of pair three."""
    (tmp_path / "pairs.csv").write_text(
        "id,structure,appearance,appearance_2,structure_mask,region_1\n"
        "one,a.png,b.png,c.png,,m.png=2\n"
        "two,b.png,c.png,,m.png,n.png=1\n"
        "three,a.png,n.png,b.png,,\n"
    )
    index = ManifestIndex.read(tmp_path / "pairs.csv")
    assert [path.name for path in index.files] == ["a.png", "b.png", "c.png", "m.png", "n.png"]
    uses = index.file_uses(columns)
    assert (uses.pairs.tolist(), uses.first.tolist()) == (pairs, first)
