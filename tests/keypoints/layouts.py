"""Small data sets in the layouts of SPair-71k and PF-PASCAL with known results.

Source and target of a pair are the same image, so every point is matched to its own position, and the error is the
distance between the annotated points of source and target.
"""

import json

import numpy as np
import scipy.io

from tests.conftest import noise
from vitsplice.images import encode_png

SIDE = 64


def write_image(path, seed=0, height=SIDE, width=SIDE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(noise(1, 3, height, width, seed=seed)))
    return path


def annotation(category, source, target, box=(0, 0, 40, 20), name="a.jpg", size=(SIDE, SIDE)):
    """Annotation of SPair-71k; points are (x, y)."""
    return {
        "pair_id": 1, "filename": "x", "src_imname": name, "trg_imname": name, "src_imsize": [*size, 3],
        "trg_imsize": [*size, 3], "src_bndbox": [0, 0, 5, 5], "trg_bndbox": list(box), "category": category,
        "src_kps": [list(point) for point in source], "trg_kps": [list(point) for point in target], "kps_ids": [],
        "mirror": 0, "viewpoint_variation": 1, "scale_variation": 0, "truncation": 0, "occlusion": 0,
    }  # fmt: skip


def write_spair(root, annotations, split="test"):
    """Write annotations by name, and the lists of pairs."""
    folder = root / "PairAnnotation" / split
    folder.mkdir(parents=True)
    for name, content in annotations.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    for subset, names in (("large", list(annotations)), ("small", list(annotations)[:1])):
        (root / "Layout" / subset).mkdir(parents=True)
        (root / "Layout" / subset / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def small_spair(root):
    """Reference length 40 px. Correct at 0.1: cat 2 of 3 and 1 of 1; dog 1 of 2, and one point outside."""
    write_image(root / "JPEGImages" / "cat" / "a.jpg", 1)
    write_image(root / "JPEGImages" / "dog" / "a.jpg", 2, height=48, width=80)
    first = annotation("cat", [(10, 20), (30, 40), (50, 12)], [(10, 20), (34, 40), (50, 17)])
    second = annotation("cat", [(33, 9)], [(33, 13)])
    third = annotation("dog", [(70, 20), (9, 40), (99, 9)], [(70, 20), (9, 33), (9, 9)], size=(80, 48))
    return write_spair(root, {"1-a-a:cat": first, "2-a-a:cat": second, "3-a-a:dog": third})


def edit_annotation(root, name, **entries):
    """Replace entries of an annotation of the split test."""
    path = root / "PairAnnotation" / "test" / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def row(name, number, source, target, base="PF-dataset-PASCAL/JPEGImages"):
    """Row of a list of PF-PASCAL; points are (x, y)."""
    points = [";".join(str(point[axis]) for point in side) for side in (source, target) for axis in (0, 1)]
    return ",".join([f"{base}/{name}", f"{base}/{name}", str(number), *points])


HEADER = "source_image,target_image,class,XA,YA,XB,YB"


def small_pfpascal(root):
    """Reference length 80 px, the longer side. Correct at 0.1: cat 1 of 2; aeroplane 1 of 1."""
    write_image(root / "JPEGImages" / "c.jpg", 1, height=48, width=80)
    write_image(root / "JPEGImages" / "p.jpg", 2, height=80, width=48)
    cat = row("c.jpg", 8, [(20, 30), (60, 10)], [(28, 30), (51, 10)])
    plane = row("p.jpg", 1, [(20.0, 30.0)], [(20.0, 38.0)])
    (root / "test_pairs_pf_pascal.csv").write_text("\n".join([HEADER, cat, plane, ""]))
    return root


def write_mat(path, points):
    """Write points (x, y) to a MATLAB file; None for a point that is not visible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kps = np.array([(np.nan, np.nan) if point is None else point for point in points], float)
    scipy.io.savemat(path, {"kps": kps, "bbox": np.array([[1.0, 1, 9, 9]])}, do_compression=True)
    return path
