"""The real command with live collection: both processes are killed, nothing is lost, and the rounds come out the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from support.collect_process import CONFIG, environment
from support.command_process import PIPE, run_command, start_command

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config import load_config
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import open_workspace

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
LONGEST = 600  # seconds to wait for a round: the training process has a low priority, and other tests run beside it
LIVE: dict[str, Any] = {
    "collect": {
        "count": 300,
        "question": "label",
        "repeat_fraction": 0,
        "annotators": ["ann"],
        "server": {"port": 0, "open_browser": False},
    },
    "reward": {"objective": "supervised", "curve": [], "optimiser": "adamw", "scale": "unit", "epochs": 2},
    "ppo": {"iterations": 2, "beta": 0.3, "start": "reference"},
    "live": {"first_answers": 6, "answers_per_round": 6, "growth": 0},
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(["-m", "stages.cli", *arguments, "--config", "asked.yaml"], cwd=folder, env=environment())


class Collection:
    """The server, its training process, and ann, who answers rightly."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rounds = folder, folder / "runs" / "asked" / "rounds"
        config = load_config(folder / "asked.yaml", [f"runs={folder / 'runs'}"])
        table = open_workspace(config).table
        self.labels = [str(table.source.label(key)) for key in table.paths]
        self.given: list[str] = []
        self.start()

    def start(self) -> None:
        command = ["-m", "stages.cli", "collect", "--config", "asked.yaml", "--live"]
        with (self.folder / "errors").open("a") as errors:
            self.server = start_command(command, cwd=self.folder, env=environment(), stdout=PIPE, stderr=errors)
        assert self.server.stdout
        for line in self.server.stdout:
            if found := re.match(r"\s+ann\s+((http://[^/]+)/enter/\S+)", line):
                self.client = httpx.Client(base_url=found[2], headers={"Origin": found[2]}, timeout=60)
                link = found[1]
            if line.startswith("Every answer"):
                break
        self.home = self.client.get(link).headers["location"]

    def answer(self, count: int) -> None:
        for task in self.client.post(self.home + "next", json={"wanted": count}).json()["tasks"]:
            row = int(task["images"][0].rpartition("/")[2].partition("-")[0], 16)
            self.given.append(uuid.uuid4().hex)
            answer = {"id": self.given[-1], "item": task["key"], "answer": self.labels[row], "response_ms": 2000}
            reply = self.client.post(self.home + "answers", json={"answers": [answer]}).json()
            assert (reply["stored"], reply["refused"]) == ([self.given[-1]], [])

    def training(self) -> psutil.Process | None:
        children = psutil.Process(self.server.pid).children()
        return next((one for one in children if "live-training" in one.cmdline()), None)

    def answer_until(self, true: Callable[[], object]) -> None:
        give_up = time.monotonic() + LONGEST
        while not true():
            assert time.monotonic() < give_up
            self.answer(1)
            time.sleep(0.2)

    def stop(self, number: int) -> None:
        self.server.send_signal(number)
        self.server.wait()
        assert self.server.stdout
        self.server.stdout.close()
        self.client.close()


def test_both_processes_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(CONFIG | LIVE))
    made = run(tmp_path, "reference")
    assert made.returncode == 0, made.stderr
    one = Collection(tmp_path)
    try:
        one.answer_until(lambda: (one.rounds / ".started.json").exists())
        training = one.training()
        assert training is not None
        os.kill(training.pid, signal.SIGKILL)  # while it trains
        one.answer_until(lambda: (one.rounds / "0" / "queue.json").exists())
        training = one.training()
        assert training is not None
        one.stop(signal.SIGKILL)
        psutil.wait_procs([training], timeout=60)
        assert not training.is_running() or training.status() == psutil.STATUS_ZOMBIE, "it ends with its server"
        one.start()
        one.answer_until(lambda: (one.rounds / "1" / "queue.json").exists())
        status = one.client.get(one.home + "live").json()
        assert status["rounds"][0]["answers"] >= 6
        assert "classes" not in status
        assert one.client.get(one.home + "session").json()["live"]
    finally:
        last = one.training()
        one.stop(signal.SIGINT)
    assert last is None or not last.is_running()
    stored = CsvFeedbackStore(tmp_path / "runs" / "asked" / "feedback").all_rows("per_image")
    assert list(stored["id"]) == one.given
    assert stored["image"].is_unique
    assert stored["source"].isin(["web", "web:audit"]).all()
    assert 0 < (stored["source"] == "web:audit").sum() < len(stored) / 4, "a tenth, as nothing else was set"
    assert stored["round"].astype(int).is_monotonic_increasing
    assert read_json(one.rounds / "0" / "round.json")["threads"] == 1
    again = run(tmp_path, "rounds", "--replay")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("all weights are bit for bit the same") >= 2
