"""Loading, checking, converting and encoding images.

Inside the package an image is RGB float32 in [0, 1], ``(1, 3, H, W)``. Colour profiles are not applied.
"""

from vitsplice.images.checks import LARGEST_AREA, LARGEST_SIDE, SMALLEST_SIDE
from vitsplice.images.decode import FORMATS
from vitsplice.images.encode import contact_sheet, encode_jpeg, encode_labels, encode_png, from_pil, to_pil, to_uint8
from vitsplice.images.loading import (
    EXAMPLE_PAIRS,
    LoadedImage,
    Source,
    example,
    image_stamp,
    is_black,
    read,
    read_mask,
)
from vitsplice.images.transforms import resize_to

__all__ = [
    "EXAMPLE_PAIRS",
    "FORMATS",
    "LARGEST_AREA",
    "LARGEST_SIDE",
    "SMALLEST_SIDE",
    "LoadedImage",
    "Source",
    "contact_sheet",
    "encode_jpeg",
    "encode_labels",
    "encode_png",
    "example",
    "from_pil",
    "image_stamp",
    "is_black",
    "read",
    "read_mask",
    "resize_to",
    "to_pil",
    "to_uint8",
]
