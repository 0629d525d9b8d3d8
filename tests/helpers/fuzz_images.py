"""Read mutated image files: each must give an image or a one-line ImageError, within limits of time and memory.

python tests/helpers/fuzz_images.py [--files N] [--seconds S] [--seed K]

A file depends on the seed and its number only. To reproduce a reported fault, --seed K --only NUMBER writes the file to
standard output.
"""

import argparse
import io
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

LIMIT_SECONDS = 2.0
"""Maximum time to read a file."""

LIMIT_BYTES = 3 * 2**30
"""Maximum memory to read a file, in addition to that of the imported reader."""

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def saved(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def valid_files():
    """Encode a valid file of every format, in each variant that the reader treats differently."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 48, 4), dtype=np.uint8)
    rgb, rgba = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels)
    grey, wide = rgb.convert("L"), Image.fromarray(rng.integers(0, 65536, (40, 48), dtype=np.uint16))
    real = Image.fromarray(rng.random((40, 48), dtype=np.float32))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    two_frames = {"save_all": True, "append_images": [rgb.rotate(90)]}
    files = [
        saved(rgb, "PNG", icc_profile=profile, exif=exif),
        saved(rgba, "PNG"),
        saved(grey, "PNG", transparency=3),
        saved(wide, "PNG"),
        saved(rgb.quantize(16), "PNG", transparency=2),
        saved(rgb, "PNG", **two_frames),
        saved(rgb, "JPEG", icc_profile=profile, exif=exif),
        saved(rgb, "JPEG", progressive=True),
        saved(rgb.convert("CMYK"), "JPEG"),
        saved(grey, "JPEG"),
        saved(rgb, "WEBP", exif=exif, icc_profile=profile),
        saved(rgba, "WEBP", lossless=True),
        saved(rgb, "WEBP", **two_frames),
        saved(rgb, "BMP"),
        saved(grey, "BMP"),
        saved(rgba, "BMP"),
    ]
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files.append(saved(rgb, "TIFF", compression=compression))
    files += [saved(real, "TIFF"), saved(wide, "TIFF"), saved(rgb, "TIFF", exif=exif, **two_frames)]
    return files


def mutated(number, seed, valid):
    """Generate the mutated file with a given number.

    Args:
        valid: the files of `valid_files`.
    """
    chance = random.Random(f"{seed}:{number}")
    data = bytearray(chance.choice(valid))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        chance.choice(MUTATIONS)(data, chance, valid)
    return bytes(data)


def _at(data, chance):
    """Draw an offset, in the first 200 bytes with a probability of at least 0.6."""
    return chance.randrange(min(len(data), 200)) if chance.random() < 0.6 else chance.randrange(len(data))


def flip(data, chance, valid):
    if data:
        data[_at(data, chance)] ^= 1 << chance.randrange(8)


def put(data, chance, valid):
    if len(data) > 4:
        at, order = min(_at(data, chance), len(data) - 4), chance.choice("<>")
        value, size = chance.choice(EXTREMES), chance.choice((1, 2, 4))
        data[at : at + size] = struct.pack(f"{order}I", value)[:size]


def cut(data, chance, valid):
    del data[chance.randrange(len(data) + 1) :]


def lose(data, chance, valid):
    if data:
        at = _at(data, chance)
        del data[at : at + chance.choice((1, 4, 16, 200))]


def repeat(data, chance, valid):
    if data:
        at = _at(data, chance)
        data[at:at] = data[at : at + chance.choice((1, 4, 16, 200))] * chance.choice((1, 2, 50))


def mix(data, chance, valid):
    other = chance.choice(valid)
    at = _at(data, chance) if data else 0
    begin = chance.randrange(len(other))
    data[at : at + 64] = other[begin : begin + 64]


MUTATIONS = (flip, flip, put, put, cut, lose, repeat, mix)


def examine(path, reader, refusal):
    """Read one file; return "image", "refused" (an exception of class ``refusal``), or a description of the fault."""
    start = time.perf_counter()
    try:
        image = reader.read(path)
        low, high = float(image.pixels.min()), float(image.pixels.max())
        outcome = "image" if low >= 0 and high <= 1 else f"values from {low} to {high}"
    except refusal as error:
        outcome = "refused" if str(error).isprintable() else f"message {str(error)!r}"
    except MemoryError:
        outcome = f"more memory than {LIMIT_BYTES} bytes"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    return outcome if seconds < LIMIT_SECONDS else f"took {seconds:.1f} s ({outcome})"


def work(numbers, seed, folder, pipe):
    """Examine files in a worker process; send (number, None) before reading a file, and (number, outcome) after it."""
    from vitsplice import images
    from vitsplice.errors import ImageError

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff prints warnings to stderr
    images.read(np.zeros((20, 20, 3), np.uint8))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, resource.RLIM_INFINITY))
    valid, path = valid_files(), Path(folder) / "image"
    for number in numbers:
        path.write_bytes(mutated(number, seed, valid))
        pipe.send((number, None))
        pipe.send((number, examine(path, images, ImageError)))
    pipe.close()


def fuzz(files, seconds, seed):
    """Examine files in worker processes; return the counts of outcomes and the faults by number.

    Raises RuntimeError if a worker ends or hangs before it reads a file.
    """
    counts, faults, started = Counter(), {}, time.monotonic()
    context = multiprocessing.get_context("forkserver")
    begin = 0
    with tempfile.TemporaryDirectory() as folder:
        while begin < files and time.monotonic() - started < seconds:
            receiver, sender = context.Pipe(duplex=False)
            worker = context.Process(target=work, args=(range(begin, files), seed, folder, sender))
            worker.start()
            sender.close()
            begin, previous = _follow(receiver, worker, begin, counts, faults, started + seconds), begin
            if begin == previous and time.monotonic() < started + seconds:
                raise RuntimeError("a worker process ended or hung before it read a file")
    return counts, faults


def _follow(pipe, worker, begin, counts, faults, end):
    """Collect the outcomes of a worker until it finishes, dies or hangs; return the number of the next file."""
    number, reading, timeout = begin - 1, False, 120.0  # the worker imports torch before its first message
    while time.monotonic() < end:
        if not pipe.poll(timeout):
            faults[number] = "hung"
            break
        try:
            number, outcome = pipe.recv()
        except EOFError:
            if reading:
                faults[number] = "the process died"
            break
        reading, timeout = outcome is None, 10 * LIMIT_SECONDS
        if outcome is not None:
            counts[outcome if outcome in ("image", "refused") else "fault"] += 1
        if outcome not in (None, "image", "refused"):
            faults[number] = outcome
    worker.kill()
    worker.join()
    return number + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000, help="number of files")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--seed", type=int, default=0, help="seed of all mutations")
    parser.add_argument("--only", type=int, default=None, metavar="NUMBER", help="write this file to standard output")
    arguments = parser.parse_args()
    if arguments.only is not None:
        sys.stdout.buffer.write(mutated(arguments.only, arguments.seed, valid_files()))
        return
    start = time.monotonic()
    counts, faults = fuzz(arguments.files, arguments.seconds, arguments.seed)
    print(f"{sum(counts.values())} files in {time.monotonic() - start:.0f} s: {dict(counts)}")
    for number, fault in faults.items():
        print(f"file {number} of seed {arguments.seed}: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
