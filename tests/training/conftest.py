from pathlib import Path

import pytest
import torch

from tests.conftest import components, noise
from vitsplice.datasets import Pair
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.problem import resizer
from vitsplice.images import encode_png
from vitsplice.presets.loading import load
from vitsplice.training.records import Recipe

SIZES = [(40, 48), (48, 40), (32, 32), (64, 40)]

PRESET = """
backbones: {vit: {name: tiny-vit, side: 32}, cnn: {name: tiny-cnn, side: view}}
steps: 8
device: cpu
training: {side: 32, partners: 2}
match: {grid: 4}
views: {structure: {crop: [0.6, 0.9], bank: 3}, appearance: {crop: [0.6, 0.9], bank: 2}}
terms:
  structure: {loss: structure, weight: 1}
  appearance: {loss: appearance, weight: 1}
  texture: {loss: texture, weight: 1, backbone: cnn}
  edges: {loss: edges, weight: 1, backbone: cnn}
  identity: {loss: identity, weight: 1, view: entire}
"""
"""Settings with terms on a ViT and on a CNN, among them guided terms and the identity term."""

CONDITIONS = ("cls", "start", "warped", "appearance")


def recipe(vit, cnn, *overrides, terms=True, conditions=CONDITIONS):
    """Build the recipe of a training with tiny backbones."""
    built = components(load(PRESET, "tiny", overrides), vit, cnn)
    backbones = built.config.backbones
    sized = {
        name: SizedBackbone(net, resizer(built.config, backbones[name], None)) for name, net in built.backbones.items()
    }
    return Recipe(built.config, sized, built.terms if terms else (), conditions)


def photographs(folder: Path, number: int = 4) -> list[Path]:
    """Write different smooth images of several sizes."""
    paths = []
    for index in range(number):
        grid = noise(1, 3, 5, 6, seed=index)
        size = SIZES[index % len(SIZES)]
        pixels = torch.nn.functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)
        paths.append(folder / f"image-{index}.png")
        paths[-1].write_bytes(encode_png(pixels))
    return paths


def all_pairs(paths: list[Path]) -> list[Pair]:
    """Pair each image with every other one."""
    return [Pair(f"{a.stem}--{b.stem}", a, b) for a in paths for b in paths if a != b]


@pytest.fixture
def images(tmp_path):
    return photographs(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the photographs and the cache of a test file."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def pairs(folder):
    """All pairs of three photographs."""
    return all_pairs(photographs(folder, 3))
