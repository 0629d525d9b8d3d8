import pytest

from vitsplice.datasets.survey import NONE, survey
from vitsplice.errors import UserError


def test_a_file_has_one_number_however_it_is_reached(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "pairs.csv").write_text(
        "id,structure,appearance,appearance_mask,licence\n"
        "one,a.png,b.png,m.png,CC0\n"
        f"two,./link.png,{tmp_path}/a.png,,\n"
        "three,b.png,c.png,,\n"
    )
    found = survey(tmp_path / "pairs.csv")
    assert found.rows.tolist() == [[0, 1, NONE, 2], [0, 0, NONE, NONE], [1, 3, NONE, NONE]]
    assert [(file.path.name, file.pair) for file in found.files] == [
        ("a.png", "one"),
        ("b.png", "one"),
        ("m.png", "one"),
        ("c.png", "three"),
    ]
    assert found.uses.tolist() == [2, 2, 1, 1]
    assert [found.ids[row] for row in found.unlicensed] == ["two", "three"]


def test_a_manifest_without_pairs_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("id,structure,appearance\n")
    with pytest.raises(UserError, match="has no pairs"):
        survey(tmp_path / "pairs.csv")
