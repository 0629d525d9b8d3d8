import pytest

from vitsplice.errors import UserError
from vitsplice.support.input_files import check_inputs_survive, check_is_no_source


def test_an_input_that_is_an_output_is_refused_also_through_a_link(tmp_path):
    (tmp_path / "sheet.png").touch()
    (tmp_path / "link.png").symlink_to("sheet.png")
    for name in ("sheet.png", "link.png"):
        with pytest.raises(
            UserError, match=f"{name} is an output file in .* and would be replaced or removed; move it"
        ):
            check_inputs_survive([tmp_path / name], [tmp_path / "sheet.png", tmp_path / "missing.json"])
    check_inputs_survive([tmp_path / "sheet.png"], [tmp_path / "missing.json"])


def test_a_path_with_a_nul_is_not_checked(tmp_path):
    check_inputs_survive(["a\0b.png"], [tmp_path / "sheet.png"])


def test_a_folder_of_the_inputs_is_refused_as_output_folder_also_through_a_link(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "link").symlink_to("images")
    for folder in ("images", "link", "images/."):
        with pytest.raises(
            UserError, match=r"is a folder of the images, and x\.png would be read as input the next time"
        ):
            check_is_no_source(tmp_path / folder, [tmp_path, tmp_path / "images"], "x.png")
    check_is_no_source(tmp_path / "images", [tmp_path / "images" / "a.png"], "x.png")
    check_is_no_source(tmp_path / "images" / "new", [tmp_path / "images"], "x.png")
