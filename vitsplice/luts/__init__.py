"""3D lookup tables of colours: fitting to two images, application, and .cube files."""

from vitsplice.luts.cube import check_cube, read_cube, write_cube
from vitsplice.luts.fitted_lut import ColourDifference, FittedLut, colour_difference, fit_lut
from vitsplice.luts.lut import Lut

__all__ = [
    "ColourDifference",
    "FittedLut",
    "Lut",
    "check_cube",
    "colour_difference",
    "fit_lut",
    "read_cube",
    "write_cube",
]
