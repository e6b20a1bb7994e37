"""Fixtures: small folders of images that a network can tell apart, and the real data where it is present."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Tests run one to a core, and their networks are tiny: more threads would only wait for each other. Commands that
# tests start are told the same, so that their sums are rounded alike.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("IMAGE_RLHF_PRECISION", "fp32")  # what `auto` measures is not the same in every run

import pytest
from hypothesis import settings
from support.slow import is_slow

# torch and the project are imported where tests are collected: the process that hands them out to workers needs neither.

TESTS = Path(__file__).resolve().parent

# The same examples in every run, so that a failure can be repeated; `make fuzz` draws new ones.
settings.register_profile("repeatable", derandomize="FUZZ_EXAMPLES" not in os.environ)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Shells start commands in the background with SIGINT ignored, which the commands that tests start would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collectstart() -> None:
    import support.tiny_network  # noqa: F401  registers a network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow modules, which support/slow.py lists, and put them first: quick ones fill the workers' last seconds."""
    for item in items:
        if is_slow(item.path.relative_to(TESTS).as_posix()):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collection: a full one takes a third of a second otherwise."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # libraries take themselves apart at the end, and complain of what is left


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """`runtime.threads` is for a whole process: a test that sets it must not change the rounding of those after it."""
    import torch

    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and weights beside the project, named by IMAGE_RLHF_SHARED; tests that need them skip without."""
    folder = os.environ.get("IMAGE_RLHF_SHARED", "")
    if not folder or not (Path(folder) / "data").is_dir():
        pytest.skip("no real data here: set IMAGE_RLHF_SHARED to a folder with data/ and weights/")
    return Path(folder)


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of images: {split: images a class}, in as many classes as asked for, at most three."""

    def make(name: str = "images", classes: int = 2, seed: int = 0, **splits: int) -> Path:
        import numpy as np
        from support.images import stripes

        random = np.random.default_rng(seed)
        root = tmp_path / name
        for split, count in (splits or {"train": 12, "test": 6}).items():
            for label in range(classes):
                folder = root / split / "abc"[label]
                folder.mkdir(parents=True)
                for number in range(count):
                    stripes(label, random).save(folder / f"{number:03d}.png")
        return root

    return make


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of a small configuration of the digits: a module's own copy."""
    from support.made_once import made_once
    from support.pipeline_runs import make_finished_run

    made = made_once(tmp_path_factory, "finished-run", make_finished_run)
    return shutil.copytree(made, tmp_path_factory.mktemp("work"), dirs_exist_ok=True)


@pytest.fixture(autouse=True)
def plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are made, but drawn only in tests marked `draws`: drawing takes most of a report's time."""
    if not request.node.get_closest_marker("draws"):
        from matplotlib.figure import Figure

        monkeypatch.setattr(Figure, "savefig", lambda _, file, **options: file.write("<svg></svg>"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium, started once; each test opens a context of its own in it."""
    from support.browser import CHROMIUM

    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    foreign: list[str] = []
    opened.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    yield opened
    context.close()
    assert problems == []
    assert foreign == [], "no request leaves the machine"


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen of its own."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as answer:
        number = answer.readline().strip()
    yield f":{number}"
    process.terminate()
    process.wait()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three workers for two cores: a third of the time is spent waiting for browsers, servers and deadlines."""
    return min(12, -(-3 * (os.cpu_count() or 1) // 2))
