import pytest

from vitsplice.errors import UserError
from vitsplice.support.input_files import check_inputs_survive


def test_an_input_that_is_an_output_is_refused_also_through_a_link(tmp_path):
    (tmp_path / "sheet.png").touch()
    (tmp_path / "link.png").symlink_to("sheet.png")
    for name in ("sheet.png", "link.png"):
        with pytest.raises(
            UserError, match=f"{name} is an output file in .* and would be replaced or removed; move it"
        ):
            check_inputs_survive([tmp_path / name], [tmp_path / "sheet.png", tmp_path / "missing.json"])
    check_inputs_survive([tmp_path / "sheet.png"], [tmp_path / "missing.json"])


def test_a_path_with_a_nul_is_left_to_the_reading_which_reports_it(tmp_path):
    check_inputs_survive(["a\0b.png"], [tmp_path / "sheet.png"])
