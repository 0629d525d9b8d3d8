import pytest

from vitsplice.errors import UserError
from vitsplice.support.input_files import check_inputs


def test_an_input_that_is_an_output_is_refused_also_through_a_link(tmp_path):
    (tmp_path / "sheet.png").touch()
    (tmp_path / "link.png").symlink_to("sheet.png")
    for name in ("sheet.png", "link.png"):
        with pytest.raises(UserError, match=f"{name} is a file of the outputs in .*; move it"):
            check_inputs([tmp_path / name], [tmp_path / "sheet.png", tmp_path / "missing.json"])
    check_inputs([tmp_path / "sheet.png"], [tmp_path / "missing.json"])
