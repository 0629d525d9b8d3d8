"""Write structure image, appearance image and output side by side as one PNG.

python examples/03_side_by_side.py STRUCTURE APPEARANCE OUTPUT SHEET.png
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from vitsplice.images import encode_png, read

HEIGHT = 320


def at_height(path):
    pixels = read(path).pixels
    width = round(pixels.shape[-1] * HEIGHT / pixels.shape[-2])
    return F.interpolate(pixels, (HEIGHT, width), mode="bicubic", antialias=True).clamp(0, 1)


*images, sheet = sys.argv[1:]
Path(sheet).write_bytes(encode_png(torch.cat([at_height(path) for path in images], dim=-1)))
print(sheet)
