import pytest

from vitsplice.errors import OutputExists, UserError
from vitsplice.support.output_folder import check, check_file


def test_a_file_is_taken_if_it_is_not_there_or_by_force(tmp_path):
    path = tmp_path / "out" / "page.html"
    assert check_file(path, "page", force=False) == path
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    path.write_text("kept")
    with pytest.raises(OutputExists, match="is there already.*force=True"):
        check_file(path, "page", force=False)
    assert check_file(str(path), "page", force=True) == path
    assert path.read_text() == "kept"
    with pytest.raises(UserError, match="is a folder; give the name of the page, such as page.html"):
        check_file(tmp_path, "page, such as page.html", force=True)


def test_a_name_that_nothing_can_have_is_no_fault_yet(tmp_path):
    """Writing tells it."""
    path = tmp_path / ("x" * 300)
    assert check_file(path, "page", force=False) == path
    assert check(path, ["page.html"], "a page", force=False) == path
