"""Make a short video of photographs: a camera that pans and zooms, and a cut-out that moves across.

    python examples/16_video_clip.py BACKGROUND CUT_OUT clip.mp4 [--frames 48] [--side 384] [--cut]

The cut-out is an ellipse of the second photograph. The clip tests what `vitsplice video` does with camera motion, with
an object that hides and uncovers its background and, given `--cut`, with a cut to the mirrored scene.
"""

import argparse
from fractions import Fraction
from math import pi, sin
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

RATE = 24
SUPERSAMPLING = 2  # so that frames are not sharper at one position than at another
SMALLEST = 24
"""Minimum side of the frames in pixels. The cut-out then has 24 * 2 / 3 = 16 pixels, which are its two borders of 8."""


def frame(background: Image.Image, cut_out: Image.Image, mask: Image.Image, time: float, side: int) -> Image.Image:
    """Render the frame at a time in [0, 1]."""
    width, height = background.size
    zoom = 0.8 - 0.2 * time
    box_width, box_height = zoom * width, zoom * height
    left, top = (width - box_width) * (0.1 + 0.8 * time), (height - box_height) * (0.5 + 0.3 * sin(pi * time))
    size = (side * SUPERSAMPLING, side * SUPERSAMPLING)
    image = background.resize(size, Image.Resampling.BICUBIC, (left, top, left + box_width, top + box_height))
    x, y = ((0.05 + 0.6 * time) * size[0], (0.45 - 0.15 * sin(2 * pi * time)) * size[1])
    offset = (1, 0, -x, 0, 1, -y)
    moved, moved_mask = (
        each.transform(size, Image.Transform.AFFINE, offset, Image.Resampling.BICUBIC) for each in (cut_out, mask)
    )
    image.paste(moved, (0, 0), moved_mask)
    return image.resize((side, side), Image.Resampling.BOX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("background", type=Path)
    parser.add_argument("cut_out", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--cut", action="store_true", help="mirror the second half of the frames")
    options = parser.parse_args()
    if options.side < SMALLEST or options.side % 2:
        parser.error(f"--side must be an even number of at least {SMALLEST} pixels, not {options.side}")

    background = Image.open(options.background).convert("RGB")
    shorter = min(background.size)
    background = background.crop((0, 0, shorter, shorter))
    cut_out_side = options.side * SUPERSAMPLING // 3
    cut_out = Image.open(options.cut_out).convert("RGB").resize((cut_out_side, cut_out_side), Image.Resampling.LANCZOS)
    mask = Image.new("L", cut_out.size)
    ImageDraw.Draw(mask).ellipse((8, 8, cut_out_side - 8, cut_out_side - 8), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(2))

    with av.open(str(options.out), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12"})
        stream.width = stream.height = options.side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for number in range(options.frames):
            image = frame(background, cut_out, mask, number / max(1, options.frames - 1), options.side)
            if options.cut and number >= options.frames // 2:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image))))
        container.mux(stream.encode(None))
    print(f"{options.frames} frames: {options.out}")


if __name__ == "__main__":
    main()
