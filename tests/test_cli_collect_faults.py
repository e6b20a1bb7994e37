"""`collect` as a process, while other programs change its files."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from support.command_line import command, make_workplace, named
from support.command_process import PIPE, start_command
from support.pipeline_runs import COMMAND, VARIABLES


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained reference and no judgments."""
    return make_workplace(tmp_path_factory.mktemp("collect"))


class Running:
    """`collect` as a process of its own, and the browser of its one annotator."""

    def __init__(self, workplace: Path, settings: str) -> None:
        words = ["collect", "--config", "small.yaml", "--set", settings, "--annotators", "ann"]
        self.process = start_command(
            [*COMMAND, *words], cwd=workplace, env=os.environ | VARIABLES, stdout=PIPE, stderr=PIPE
        )
        assert self.process.stdout
        link = ""
        for line in self.process.stdout:
            if found := re.search(r"^\s+ann\s+(http\S+/enter/\S+)", line):
                link = found[1]
            if line.startswith("Every answer"):
                break
        origin = link.split("/enter")[0]
        self.client = httpx.Client(base_url=origin, headers={"Origin": origin}, timeout=60)
        self.home = self.client.get(link).headers["location"]
        self.tasks = self.client.post(self.home + "next", json={"wanted": 10}).json()["tasks"]

    def send(self, judgment: str) -> httpx.Response:
        entry = {"id": judgment, "item": self.tasks[0]["key"], "answer": "a", "response_ms": 10}
        reply = self.client.post(self.home + "answers", json={"answers": [entry]})
        if reply.status_code == 200:
            assert reply.json()["stored"] == [judgment]
            self.tasks.pop(0)
        return reply

    def stop(self) -> str:
        """Ctrl-C; returns what the terminal said."""
        self.client.close()
        self.process.send_signal(signal.SIGINT)
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(self.process.communicate()))
        reader.start()
        reader.join(60)
        assert self.process.returncode == 0
        return said[1]


@pytest.fixture
def collect(workplace: Path) -> Iterator[Callable[[str], Running]]:
    started: list[Running] = []

    def start(settings: str) -> Running:
        started.append(Running(workplace, settings))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_collection_goes_on_after_its_file_was_saved_by_a_spreadsheet(
    workplace: Path, collect: Callable[[str], Running]
) -> None:
    """Said in the terminal and on the page; accepted by a second process while the first one runs."""
    settings = named(workplace, "spreadsheet")
    running = collect(settings)
    assert running.send("answer-1").status_code == 200
    path = workplace / "runs/spreadsheet/feedback/pairwise.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([*row, ""] for row in rows)
    refused = running.send("answer-2")
    assert refused.status_code == 507
    assert "changed or removed by another program" in refused.json()["detail"]
    accepted = command(workplace, "feedback", "check", "--accept", settings=settings)
    assert accepted.returncode == 0, accepted.stderr
    assert running.send("answer-2").status_code == 200
    path.unlink()
    assert running.send("answer-3").status_code == 507
    assert command(workplace, "feedback", "check", "--accept", settings=settings).returncode == 0
    assert running.send("answer-3").status_code == 200
    said = running.stop()
    assert "line 1: not what was stored" in said
    assert "pairwise.csv: the file is gone" in said
    assert said.count("Answers are stored again.") == 2
    assert "Traceback" not in said
    assert list(pd.read_csv(path)["id"]) == ["answer-3"]
    assert json.loads((workplace / "runs/spreadsheet/collect/manifest.json").read_text())
