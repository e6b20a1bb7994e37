"""The training process beside the page: it comes back when it is killed, and ends when the server does."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import parse_config
from pipeline.run.atomic_files import read_json
from stages.collect.web import training_process
from stages.collect.web.live_routes import NOTHING_YET, LiveStatus
from stages.collect.web.training_process import TrainingProcess

CONFIG = parse_config({"images": {"source": "digits"}, "name": "watched"}, "test")
# Writes what it read and its number into a file, and ends when its input ends, as the real one does.
READS = """
import os, sys
with open(sys.argv[1], "a") as file:
    text = "".join(iter(sys.stdin.readline, "...\\n"))
    print(os.getpid(), "name: watched" in text, os.environ["OMP_NUM_THREADS"], file=file, flush=True)
    sys.stdin.read()
    print("ended", file=file, flush=True)
"""


def wait_for(true: Callable[[], object], seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TrainingProcess]]:
    monkeypatch.setattr(training_process, "PAUSE_SECONDS", (0.01, 0.01))
    started: list[TrainingProcess] = []

    def start(program: str) -> TrainingProcess:
        started.append(TrainingProcess([sys.executable, "-c", program, str(tmp_path / "told")], CONFIG))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_it_gets_the_configuration_and_ends_with_the_server(
    watched: Callable[..., TrainingProcess], tmp_path: Path
) -> None:
    process = watched(READS)
    wait_for(lambda: lines(tmp_path / "told"))
    process.stop()
    first, second = lines(tmp_path / "told")
    assert first.split()[1:] == ["True", "1"]
    assert second == "ended"
    assert process.process is not None
    assert process.process.returncode == 0


def test_a_killed_process_is_started_again(
    watched: Callable[..., TrainingProcess], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = watched(READS)
    wait_for(lambda: lines(tmp_path / "told"))
    for times in range(1, 5):  # more often than there are pauses
        os.kill(int(lines(tmp_path / "told")[-1].split()[0]), signal.SIGKILL)
        wait_for(lambda times=times: len(lines(tmp_path / "told")) == times + 1)
    assert "the training process was killed by signal 9; it is started again, and nothing is lost" in caplog.text
    wait_for(lambda: process.message == "")


def test_after_some_failures_collecting_goes_on_without_it(
    watched: Callable[..., TrainingProcess], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    process = watched("raise SystemExit(3)")
    wait_for(lambda: "does not run any more" in process.message)
    assert "ended with exit code 3 3 times in a row; collecting goes on without it" in caplog.text
    shown = LiveStatus(tmp_path / "progress.json", process).read()
    assert shown["process"] == "training does not run any more; answers are saved as before"
    assert shown["sentences"] == [NOTHING_YET]


def test_the_page_is_told_what_the_file_says(watched: Callable[..., TrainingProcess], tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    path.write_text('{"rounds": [], "sentences": ["One."], "state": {}, "classes": [{"name": "ant"}]}')
    status = LiveStatus(path, TrainingProcess([], CONFIG))
    assert status.read() == {"rounds": [], "sentences": ["One."], "state": {}, "process": ""}
    assert status.read(by_class=True)["classes"] == read_json(path)["classes"]
    path.write_text("{")
    assert status.read()["sentences"] == [NOTHING_YET]
