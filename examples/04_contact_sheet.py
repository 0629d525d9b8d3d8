"""Write the image of the README: the packaged pairs with the outputs of `instant` and `quick`, and their run times.

python examples/04_contact_sheet.py SHEET.png [--steps N]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

import vitsplice
from vitsplice.images import EXAMPLE_PAIRS, encode_png, example, read

HEIGHT, BAR, GAP = 224, 22, 6


def cell(pixels, text):
    """Resize an image (3, H, W) to a fixed height and add its caption below."""
    width = round(pixels.shape[-1] * HEIGHT / pixels.shape[-2])
    sized = F.interpolate(pixels[None], (HEIGHT, width), mode="bicubic", antialias=True)[0].clamp(0, 1)
    bar = Image.new("RGB", (width, BAR), "white")
    ImageDraw.Draw(bar).text((2, 4), text, fill="black", font=ImageFont.load_default(13))
    caption = torch.from_numpy(np.array(bar)).permute(2, 0, 1) / 255
    return F.pad(torch.cat([sized, caption], 1), (0, GAP), value=1.0)


def output_cell(structure, appearance, preset, steps):
    start = time.perf_counter()
    result = vitsplice.splice(structure, appearance, preset=preset, steps=steps, overrides=["metrics=none"])
    return cell(result.pixels, f"{preset}, {time.perf_counter() - start:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheet", type=Path, help="PNG file to write")
    parser.add_argument("--steps", type=int, default=None, help="number of steps of quick; default: that of the preset")
    arguments = parser.parse_args()
    rows = []
    for name in EXAMPLE_PAIRS:
        pair = example(name)
        cells = [cell(read(path).pixels[0], role) for path, role in zip(pair, ("structure", "appearance"), strict=True)]
        cells += [output_cell(*pair, "instant", None), output_cell(*pair, "quick", arguments.steps)]
        rows.append(torch.cat(cells, -1))
    width = max(row.shape[-1] for row in rows)
    arguments.sheet.write_bytes(
        encode_png(torch.cat([F.pad(row, (0, width - row.shape[-1]), value=1.0) for row in rows], 1))
    )
    print(arguments.sheet)


if __name__ == "__main__":
    main()
