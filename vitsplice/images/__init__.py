"""Reading and writing images: the one place that knows formats.

An image inside the package is RGB float32 in [0, 1], ``(1, 3, H, W)``. Colour profiles are not applied.
"""

from vitsplice.images.encode import encode_png, from_pil, to_pil
from vitsplice.images.examples import EXAMPLE_PAIRS, example
from vitsplice.images.formats import FORMATS
from vitsplice.images.limits import LARGEST_AREA, LARGEST_SIDE, SMALLEST_SIDE
from vitsplice.images.loading import LoadedImage, Source, is_black, read, read_mask
from vitsplice.images.resize import resize_to

__all__ = [
    "EXAMPLE_PAIRS",
    "FORMATS",
    "LARGEST_AREA",
    "LARGEST_SIDE",
    "SMALLEST_SIDE",
    "LoadedImage",
    "Source",
    "encode_png",
    "example",
    "from_pil",
    "is_black",
    "read",
    "read_mask",
    "resize_to",
    "to_pil",
]
