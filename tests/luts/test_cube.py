import numpy as np
import pytest
import torch

from vitsplice.errors import OutputExists, UserError
from vitsplice.luts import Lut, check_cube, read_cube, write_cube

ROWS = "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 0 1\n1 0 1\n0 1 1\n1 1 1\n"
"""The identity with two points an axis: red varies fastest."""


@pytest.fixture
def cube(tmp_path):
    """Function that writes content to a .cube file and returns its path."""

    def write(content):
        path = tmp_path / "x.cube"
        path.write_bytes(content.encode())
        return path

    return write


def test_red_varies_fastest_in_a_file(cube):
    assert torch.equal(read_cube(cube(f"LUT_3D_SIZE 2\n{ROWS}")).values, Lut.identity(2).values)


def test_domain_is_read_from_a_file_with_byte_order_mark_title_comments_and_mixed_line_ends(cube):
    head = '\ufeff# made by hand\r\nTITLE "a b"\n\nDOMAIN_MIN 0 -0.5 0\nDOMAIN_MAX 2 1 1\r\nLUT_3D_SIZE 2\n# table\n'
    assert read_cube(cube(head + ROWS)).domain == ((0, -0.5, 0), (2, 1, 1))


def test_a_written_file_is_read_to_its_six_decimals(tmp_path):
    values = torch.rand(5, 5, 5, 3, generator=torch.Generator().manual_seed(0))
    lut = Lut(values, ((0.0, 0.0, 0.0), (1.0, 1.0, 2.0)))
    path = write_cube(lut, tmp_path / "new" / "x.cube", title='a "quoted"\ntitle')
    stored = read_cube(path)
    assert stored.domain == lut.domain
    torch.testing.assert_close(stored.values, lut.values, atol=6e-7, rtol=0)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("x.txt", "x.cube"), ("x", "x.cube"), ("x.old.TXT", "x.old.cube")],
)
def test_a_file_is_written_only_if_its_name_ends_in_cube(tmp_path, name, suggested):
    with pytest.raises(UserError, match=f"LUTs are .cube files; give .*/{suggested}$"):
        write_cube(Lut.identity(2), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_suffix_of_a_file_may_be_in_upper_case(tmp_path):
    assert read_cube(write_cube(Lut.identity(2), tmp_path / "X.CUBE")).size == 2


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    path = write_cube(Lut.identity(2), tmp_path / "x.cube")
    with pytest.raises(OutputExists, match="already exists"):
        write_cube(Lut.identity(3), path)
    assert read_cube(write_cube(Lut.identity(3), path, force=True)).size == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no LUT_3D_SIZE"),
        (ROWS, "no LUT_3D_SIZE"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "line 1: a 1D LUT"),
        (f"LUT_3D_SIZE 3\n{ROWS}", "8 rows, but LUT_3D_SIZE 3 requires 27"),
        (f"LUT_3D_SIZE 2\n{ROWS}0 0 0\n", "9 rows"),
        (f"LUT_3D_SIZE 999999999999\n{ROWS}", "from 2 to 256"),
        (f"LUT_3D_SIZE two\n{ROWS}", "from 2 to 256"),
        (f"LUT_3D_SIZE \u0662\n{ROWS}", "from 2 to 256"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "1_0 1 1"), "line 9: three finite numbers are required, not '1_0"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "\u0661 1 1"), "line 9: three finite numbers"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "nan 1 1"), "line 9: three finite numbers"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "inf 1 1"), "line 9: three finite numbers"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "1e39 1 1"), "contain NaN or infinity"),
        (f"LUT_3D_SIZE 2\n{ROWS}".replace("1 1 1", "1 1"), "line 9: three finite numbers"),
        (f"LUT_3D_SIZE 2\n{ROWS}LUT_3D_SIZE 2\n", "line 10: keyword 'LUT_3D_SIZE' after the table; keywords must"),
        (f"LUT_3D_INPUT_RANGE 0\nLUT_3D_SIZE 2\n{ROWS}", "line 1: LUT_3D_INPUT_RANGE must be two numbers"),
        (f"LUT_IN_VIDEO_RANGE\nLUT_3D_SIZE 2\n{ROWS}", "unknown keyword 'LUT_IN_VIDEO_RANGE'"),
        (f"DOMAIN_MIN 0 0\nLUT_3D_SIZE 2\n{ROWS}", "line 1: three finite numbers"),
        (f"DOMAIN_MIN 1 1 1\nLUT_3D_SIZE 2\n{ROWS}", "must be above its start"),
        (f"LUT_3D_SIZE 3\nLUT_3D_SIZE 2\n{ROWS}", "line 2: LUT_3D_SIZE contradicts an earlier line; remove one"),
        (f"DOMAIN_MAX 2 2 2\nLUT_3D_INPUT_RANGE 0 1\n{ROWS}", "line 2: LUT_3D_INPUT_RANGE contradicts"),
        (f"LUT_3D_INPUT_RANGE 0 1\nDOMAIN_MIN 0 0 -1\n{ROWS}", "line 2: DOMAIN_MIN contradicts"),
        (f"DOMAIN_MIN 0 0 0\nDOMAIN_MIN 0 0 -1\n{ROWS}", "line 2: DOMAIN_MIN contradicts"),
        ("\x89PNG\r\n\x00\x01", "x.cube is not a .cube file, which is text"),
    ],
)
def test_invalid_files_are_refused_with_their_name_and_the_reason(cube, content, message):
    with pytest.raises(UserError, match="x.cube") as error:
        read_cube(cube(content))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_domain_may_be_stated_twice(cube):
    head = "LUT_3D_SIZE 2\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 2 2 2\nLUT_3D_INPUT_RANGE 0 2\n"
    assert read_cube(cube(head + ROWS)).domain == ((0, 0, 0), (2, 2, 2))


def test_a_name_that_is_too_long_or_has_a_nul_character_is_refused(tmp_path):
    with pytest.raises(UserError, match="has more than 255 bytes; choose a shorter one"):
        check_cube(tmp_path / f"{'x' * 300}.cube")
    with pytest.raises(UserError, match=r"cannot read a\\x00: no file name has a NUL character"):
        read_cube("a\0")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, problem in ((tmp_path / "none.cube", "does not exist"), (tmp_path, "cannot read")):
        with pytest.raises(UserError, match=problem):
            read_cube(path)


def test_input_range_of_all_axes_is_read_after_leading_zeros_and_a_title_with_line_separators(cube):
    stored = read_cube(cube(f'TITLE "a\x0c\u2028b"\nLUT_3D_SIZE 0000000002\nLUT_3D_INPUT_RANGE -1 2.5\n{ROWS}'))
    assert stored.domain == ((-1, -1, -1), (2.5, 2.5, 2.5))


@pytest.mark.parametrize(
    "domain", [((0, -1e-9, 0), (1e-7, 1, 1)), ((0.1234561, 0, 0), (0.1234564, np.float64(1 / 3), 1e9 / 7))]
)
def test_domain_is_read_as_it_was_written(tmp_path, domain):
    lut = Lut(Lut.identity(2).values, domain)
    assert read_cube(write_cube(lut, tmp_path / "lut.cube")).domain == lut.domain
