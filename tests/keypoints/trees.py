"""Small data sets in the layouts of SPair-71k and PF-PASCAL whose answers are known.

Source and target of a pair are the same image, so a feature finds each point where it was: how far off it then is, is
what the annotation says.
"""

import json
from pathlib import Path

import numpy as np
import scipy.io

from tests.conftest import noise
from vitsplice.images import encode_png

SIDE = 64


def image(path, seed=0, height=SIDE, width=SIDE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(noise(1, 3, height, width, seed=seed)))
    return path


def annotation(category, here, there, box=(0, 0, 40, 20), name="a.jpg", size=(SIDE, SIDE)):
    """Points are (across, down)."""
    return {
        "pair_id": 1, "filename": "x", "src_imname": name, "trg_imname": name, "src_imsize": [*size, 3],
        "trg_imsize": [*size, 3], "src_bndbox": [0, 0, 5, 5], "trg_bndbox": list(box), "category": category,
        "src_kps": [list(point) for point in here], "trg_kps": [list(point) for point in there], "kps_ids": [],
        "mirror": 0, "viewpoint_variation": 1, "scale_variation": 0, "truncation": 0, "occlusion": 0,
    }  # fmt: skip


def spair(root, pairs, split="test"):
    """A tree of annotations by name."""
    folder = root / "PairAnnotation" / split
    folder.mkdir(parents=True)
    for name, told in pairs.items():
        text = told if isinstance(told, str) else json.dumps(told)
        (folder / f"{name}.json").write_text(text)
    for subset, names in (("large", list(pairs)), ("small", list(pairs)[:1])):
        (root / "Layout" / subset).mkdir(parents=True)
        (root / "Layout" / subset / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def known_spair(root):
    """Thresholds are parts of 40 px. At 0.1: cat 2 of 3 and 1 of 1; dog 1 of 2, and one point outside."""
    image(root / "JPEGImages" / "cat" / "a.jpg", 1)
    image(root / "JPEGImages" / "dog" / "a.jpg", 2, height=48, width=80)
    cats = annotation("cat", [(10, 20), (30, 40), (50, 12)], [(10, 20), (34, 40), (50, 17)])
    one = annotation("cat", [(33, 9)], [(33, 13)])
    dogs = annotation("dog", [(70, 20), (9, 40), (99, 9)], [(70, 20), (9, 33), (9, 9)], size=(80, 48))
    return spair(root, {"1-a-a:cat": cats, "2-a-a:cat": one, "3-a-a:dog": dogs})


def row(name, number, here, there, base="PF-dataset-PASCAL/JPEGImages"):
    def joined(points, axis):
        return ";".join(str(point[axis]) for point in points)

    points = [joined(here, 0), joined(here, 1), joined(there, 0), joined(there, 1)]
    return ",".join([f"{base}/{name}", f"{base}/{name}", str(number), *points])


HEAD = "source_image,target_image,class,XA,YA,XB,YB"


def known_pascal(root):
    """Thresholds are parts of 80 px, the longer side. At 0.1: cat 1 of 2; aeroplane 1 of 1."""
    image(root / "JPEGImages" / "c.jpg", 1, height=48, width=80)
    image(root / "JPEGImages" / "p.jpg", 2, height=80, width=48)
    cat = row("c.jpg", 8, [(20, 30), (60, 10)], [(28, 30), (51, 10)])
    plane = row("p.jpg", 1, [(20.0, 30.0)], [(20.0, 38.0)])
    (root / "test_pairs_pf_pascal.csv").write_text("\n".join([HEAD, cat, plane, ""]))
    return root


def mat(path, points):
    """Points (across, down); None is not seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kps = np.array([(np.nan, np.nan) if point is None else point for point in points], float)
    scipy.io.savemat(path, {"kps": kps, "bbox": np.array([[1.0, 1, 9, 9]])}, do_compression=True)
    return Path(path)
