"""What tests share: the tiny backbones, small images, and the folder of shared photographs."""

import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
import vitsplice_tiny

from vitsplice.images import encode_png
from vitsplice.plugins import catalogue

pytest.register_assert_rewrite("resumable")

SHARED = Path(__file__).resolve().parents[2] / "shared"


SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: `make browser` installs it where it can")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=SWITCHES.split())
        yield found
        found.close()


@pytest.fixture
def opened(browser):
    """Open an HTML file; at the end the page must have asked for nothing and complained of nothing."""
    contexts, trouble = [], []

    def go(path, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: trouble.append(f"request {request.url[:80]}") if outside(request) else None)
        page.on(
            "console", lambda message: trouble.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(Path(path).as_uri())
        return page

    def outside(request):
        return not request.url.startswith("data:") and not request.is_navigation_request()

    yield go
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture(autouse=True)
def _sealed(monkeypatch, tmp_path_factory):
    """No hub, no cache of the user's: what a test writes goes to its own folders."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "VITSPLICE_CACHE" not in os.environ:
        monkeypatch.setenv("VITSPLICE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _fresh_catalogue():
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.fixture
def full_disk():
    """Files have room for 4 kB; what is more is refused by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """Processes that run a command and interrupt it at a given moment."""
    from resumable import Processes

    return Processes(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="session")
def vit():
    return vitsplice_tiny.tiny_vit()


@pytest.fixture(scope="session")
def cnn():
    return vitsplice_tiny.tiny_cnn()


@pytest.fixture(params=["vit", "cnn"])
def backbone(request):
    return request.getfixturevalue(request.param)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth_pair():
    """A structure image and an appearance image, smooth enough to have some structure, (1, 3, 40, 48)."""
    grids = [noise(1, 3, 5, 6, seed=seed) for seed in (1, 2)]
    return tuple(torch.nn.functional.interpolate(g, size=(40, 48), mode="bilinear", align_corners=False) for g in grids)


def write_pair(folder):
    """The images of `smooth_pair` as structure.png and appearance.png in a folder."""
    paths = [folder / "structure.png", folder / "appearance.png"]
    for path, pixels in zip(paths, smooth_pair(), strict=True):
        path.write_bytes(encode_png(pixels))
    return paths


@pytest.fixture
def pair():
    return smooth_pair()


@pytest.fixture
def png(tmp_path):
    return write_pair(tmp_path)


@pytest.fixture
def victim(tmp_path_factory):
    """A folder of somebody else's, with a finished run and checkpoints, that must be as it was at the end of a test."""
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


@pytest.fixture(scope="session")
def shared():
    """The folder with the oracle and photographs that are not part of the project."""
    if not (SHARED / "oracle" / "oracle.json").is_file():
        pytest.skip("the folder of shared photographs and oracle numbers is not beside this checkout")
    return SHARED
