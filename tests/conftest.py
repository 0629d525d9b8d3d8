"""Fixtures of all tests: tiny backbones, small images, a browser, the folder of shared photographs."""

import gc
import logging
import os
import resource
import signal
from pathlib import Path

import pytest

from vitsplice.cli import WAIT_POLICY

os.environ.setdefault(*WAIT_POLICY)  # before torch is imported, here or by a process of a test
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported

import torch
import vitsplice_tiny
from chromium import browser, checked_pages

from vitsplice.engine.problem import Components
from vitsplice.images import encode_labels, encode_png, read
from vitsplice.plugins import catalogue

pytest.register_assert_rewrite("resumable")

os.fsync = lambda file: None  # fsync waits for the disk, and protects only against a crash of the system
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes with SIGINT ignored

__all__ = ["browser"]

SHARED = Path(__file__).resolve().parents[2] / "shared"

STAGED_PYRAMID = (
    "checkpoint.every=2",
    "start=match",
    "match.grid=8",
    "generator={name: pyramid, options: {levels: 3}}",
    "terms={structure: {loss: structure, weight: 10}, texture: {loss: texture, weight: 4}}",
    "views={structure: {crop: [0.9, 0.9], shape: image, bank: 3}, appearance: {crop: [0.9, 0.9], bank: 3}}",
    "stages=[{side: 24, share: 0.5}, {side: 32, share: 0.5, lr: 0.01}]",
    "optimiser={lr: 0.02, schedule: cosine}",
)
"""Overrides of the preset tiny: a warm start and two stages, with a checkpoint after every second step."""

TINY_SECOND = ("backbone.side=32", "backbones.cnn.name=tiny-cnn", "terms.detail.options.samples=200")
"""Overrides of the presets quick and best: small inputs of the first backbone, a tiny second one, few samples."""

TINY_NETWORKS = ("backbone.name=tiny-vit", *TINY_SECOND)
"""Overrides of the presets quick and best: two tiny backbones."""


@pytest.fixture
def opened(browser):
    """Function that opens an HTML file; fails at the end if the page sent requests or reported errors or warnings."""
    with checked_pages(browser) as open_page:
        yield lambda path, **settings: open_page(Path(path).as_uri(), **settings)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    """Use a temporary cache folder instead of the user's."""
    if "VITSPLICE_CACHE" not in os.environ:
        monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def fresh_catalogue():
    """Load the plugins anew in a test that changes them, and again after it."""
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.fixture
def full_disk():
    """Limit files to 4 kB; the system refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect the tests without garbage collection, with which it takes a quarter longer."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish():
    """Save time in each test: collect garbage less often, and let loggers propagate.

    No garbage is collected among the objects that exist by now: this saves 6 % of the tests' time.
    The warning about a file that is left open in a reference cycle may therefore fail a test after the one at fault.

    To each logger that does not propagate, such as 45 of torch, pytest adds handlers, which takes 1 ms in each test.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True


def pytest_collection_modifyitems(items):
    """Run the tests with weights, which are long, first, so that all workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("weights") is None)


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """Runner of commands in processes that are interrupted at a given moment."""
    from resumable import Processes

    return Processes(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(autouse=True)
def _number_of_threads_restored():
    """Restore torch's number of threads: jobs in this process set it, and it changes the bytes of other runs."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def vit():
    return vitsplice_tiny.tiny_vit()


@pytest.fixture(scope="session")
def cnn():
    return vitsplice_tiny.tiny_cnn()


@pytest.fixture(params=["vit", "cnn"])
def backbone(request):
    return request.getfixturevalue(request.param)


def components(config, *backbones):
    """Build the components of a run with loaded backbones, in the order of the settings."""
    return Components.build(config, dict(zip(config.backbones, backbones, strict=True)), catalogue())


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth_pair():
    """Generate a smooth structure image and a smooth appearance image, each (1, 3, 40, 48)."""
    grids = [noise(1, 3, 5, 6, seed=seed) for seed in (1, 2)]
    return tuple(torch.nn.functional.interpolate(g, size=(40, 48), mode="bilinear", align_corners=False) for g in grids)


def write_pair(folder):
    """Write the images of `smooth_pair` as structure.png and appearance.png to a folder; return the paths."""
    paths = [folder / "structure.png", folder / "appearance.png"]
    for path, pixels in zip(paths, smooth_pair(), strict=True):
        path.write_bytes(encode_png(pixels))
    return paths


def write_labels(image):
    """Write a label image of two colours beside an image, of the same size; return its path."""
    height, width = read(image).pixels.shape[-2:]
    path = image.with_name(f"{image.stem}_labels.png")
    right = (torch.arange(width) >= width // 2).long().expand(height, -1)
    path.write_bytes(encode_labels(right, [(230, 30, 30), (30, 30, 230)]))
    return path


@pytest.fixture
def pair():
    return smooth_pair()


@pytest.fixture
def png(tmp_path):
    return write_pair(tmp_path)


@pytest.fixture
def victim(tmp_path_factory):
    """Folder with a finished run and checkpoints that the test must leave unchanged."""
    folder = tmp_path_factory.mktemp("victim")
    names = ("output.png", "run.json", "run.yaml", "losses.csv", "report.html", "values.jsonl", "analysis.json")
    inner = ("previews/step-000001.png", "checkpoint/begun.json", "checkpoint/step-00000001.json", "checkpoint/.lock")
    for name in (*names, *inner, *(f"run/{name}" for name in names), f".{'0' * 16}.tmp"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")

    def state():
        return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}

    before = state()
    yield folder
    assert state() == before


@pytest.fixture(scope="module")
def image_files(tmp_path_factory):
    """The images of `png`, for all tests of a module, which leave them unchanged."""
    return write_pair(tmp_path_factory.mktemp("images"))


@pytest.fixture
def small_metrics(monkeypatch):
    """Measure images at 64 px instead of 256; the metrics of a run have tests of their own."""
    monkeypatch.setattr("vitsplice.metrics.independent.SIZE", 64)


@pytest.fixture
def small_similarity(monkeypatch):
    """Compute the features for pairing by similarity at 32 px instead of 224."""
    monkeypatch.setattr("vitsplice.datasets.similarity.SHORTER_SIDE", 32)


@pytest.fixture
def coarse_match(monkeypatch):
    """Match images on a coarse grid where a loss module matches them."""
    monkeypatch.setattr("vitsplice.loss_modules.base.MATCH_GRID", 8)


@pytest.fixture
def no_plots(monkeypatch):
    """Write an empty SVG in place of each plot."""
    monkeypatch.setattr("vitsplice.support.plots._save", lambda *_, **__: b"<svg></svg>")


@pytest.fixture(scope="session")
def shared():
    """Folder with oracle values and photographs that are not part of the project."""
    if not (SHARED / "oracle" / "oracle.json").is_file():
        pytest.skip("the folder of shared photographs and oracle values is missing next to this checkout")
    return SHARED
