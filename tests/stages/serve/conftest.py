"""Runs with small random networks, the application over them, and the real server on a free port."""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.command_process import PIPE, STDOUT, start_command
from support.serve_server import Live, desk_of, make_served

from pipeline.config import Config
from stages.serve.app import ServerState, make_app

ROOT = Path(__file__).resolve().parents[3]
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture
def served(tmp_path: Path) -> Callable[..., Config]:
    """Makes a run with a policy and, unless told otherwise, a reference; settings are those of `serve`."""

    def make(*arguments: Any, **settings: Any) -> Config:
        return make_served(tmp_path, *arguments, **settings)

    return make


@pytest.fixture
def state(served: Callable[..., Config]) -> Iterator[Callable[..., ServerState]]:
    """What the application works with, closed after the test."""
    made: list[ServerState] = []

    def make(*arguments: object, token: str | None = None, **settings: object) -> ServerState:
        made.append(desk_of(served(*arguments, **settings), token))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


@pytest.fixture
def client(state: Callable[..., ServerState]) -> Callable[..., TestClient]:
    """A client of the application, without a server between."""

    def make(*arguments: object, **settings: object) -> TestClient:
        return TestClient(make_app(state(*arguments, **settings)), base_url=ADDRESS)

    return make


@pytest.fixture
def live(state: Callable[..., ServerState]) -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def make(*arguments: object, **settings: object) -> Live:
        started.append(Live(state(*arguments, **settings)))
        return started[-1]

    yield make
    for server in started:
        server.stop()


class Process:
    """The real command in a process of its own."""

    def __init__(self, config: Path, *overrides: str) -> None:
        command = ["-m", "stages.cli", "serve", "--config", str(config)]
        self.process = start_command(
            [*command, *(["--set", " ".join(overrides)] if overrides else [])],
            stdout=PIPE,
            stderr=STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"(http://[^/\s]+)/", line):
                self.address = found[1]
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(f"the server did not start ({self.process.wait()}): {''.join(self.lines)}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Exit code, and what was printed since the start."""
        assert self.process.stdout
        with self.process.stdout as rest:
            text = rest.read()
        return self.process.wait(), text


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*arguments: object) -> Process:
        started.append(Process(*arguments))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGKILL)
            one.wait()


def picture(seed: int = 0, size: tuple[int, int] = (48, 40), kind: str = "PNG") -> bytes:
    """An image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(name="picture")
def picture_fixture() -> Callable[..., bytes]:
    return picture
