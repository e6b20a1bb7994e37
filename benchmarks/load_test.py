"""`make load-test`: many annotators at once, while the server is killed again and again.

Fifty annotators answer until 2,000 answers are acknowledged; the server is killed with SIGKILL three times meanwhile and
started again. Afterwards every acknowledged answer must be in the store exactly once, and no question may have more
answers than were asked for; otherwise it exits with 1.

An acknowledgement is timed from sending the answer to the reply that it is on disk, in the attempt that got through;
attempts that met a dead server are counted beside it. How long that takes depends on the machine and what else it does,
so it is printed beside a bare request (the page's settings, nothing stored) that one more client sends all the while,
and no time makes the test fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import numpy as np

from feedback_store.store_registry import open_store

CONFIG = """
name: load
images: {source: digits, size: 16}
model: {backbone: resnet18, weights: none, trainable: head}
reference: {labelled_per_class: 0}
collect:
  count: COUNT
  judgments_per_item: EACH
  repeat_fraction: 0
  lease_minutes: 1
  annotators: NAMES
  server: {port: PORT, open_browser: false}
"""


@dataclass
class Outcome:
    """What the annotators saw."""

    acknowledged: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    failed: int = 0
    refused: list[str] = field(default_factory=list)


class Server:
    """The real command in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.command = [sys.executable, "-m", "stages.cli", "collect", "--config", "load.yaml"]
        self.links: dict[str, str] = {}

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.match(r"\s+(\S+)\s+(http\S+/enter/\S+)", line):
                self.links[found[1]] = found[2]
            if line.startswith("Every answer"):
                return
        raise SystemExit(f"the server did not start: {self.process.wait()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def annotator(server: Server, name: str, target: int, think: float, outcome: Outcome) -> None:
    """Open the link, take questions a few at a time, answer each, and send every answer until it is acknowledged."""
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, headers={"Origin": base}, timeout=10) as client:
        entered = await insist(client, outcome, "GET", server.links[name])
        home = entered.headers["location"]
        tasks: list[dict[str, object]] = []
        while len(outcome.acknowledged) < target:
            if not tasks:
                reply = await insist(client, outcome, "POST", home + "next", {"wanted": 4})
                tasks = reply.json()["tasks"]
                if not tasks:
                    if reply.json()["wait_seconds"] is None:
                        return
                    await asyncio.sleep(0.5)
                    continue
            task = tasks.pop(0)
            await asyncio.sleep(random.expovariate(1 / think))
            judgment = uuid.uuid4().hex
            answer = {"id": judgment, "item": task["key"], "answer": random.choice("ab"), "response_ms": 700}
            reply = await insist(client, outcome, "POST", home + "answers", {"answers": [answer]}, timed=True)
            outcome.acknowledged += reply.json()["stored"]
            outcome.refused += [refused["reason"] for refused in reply.json()["refused"]]


async def bystander(server: Server, name: str, think: float, outcome: Outcome) -> None:
    """Send bare requests, as often as a person answers, until cancelled; those that meet a dead server do not count."""
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        home = (await insist(client, Outcome(), "GET", server.links[name])).headers["location"]
        while True:
            await asyncio.sleep(random.expovariate(1 / think))
            started = time.perf_counter()
            with contextlib.suppress(httpx.TransportError):
                (await client.get(home + "session")).raise_for_status()
                outcome.bare_seconds.append(time.perf_counter() - started)


async def insist(
    client: httpx.AsyncClient, outcome: Outcome, method: str, path: str, body: object = None, *, timed: bool = False
) -> httpx.Response:
    """Send until there is an answer."""
    while True:
        started = time.perf_counter()
        try:
            reply = await client.request(
                method,
                path,
                content=json.dumps(body) if body is not None else None,
                headers={"Content-Type": "application/json"},
            )
        except httpx.TransportError:
            outcome.failed += 1
            await asyncio.sleep(0.25)
            continue
        if reply.status_code >= 400:
            raise SystemExit(f"{method} {path}: {reply.status_code} {reply.text}")
        if timed:
            outcome.seconds.append(time.perf_counter() - started)
        return reply


async def campaign(server: Server, names: list[str], target: int, kills: int, think: float) -> Outcome:
    outcome = Outcome()
    work = [asyncio.create_task(annotator(server, name, target, think, outcome)) for name in names]
    beside = asyncio.create_task(bystander(server, names[0], think / 4, outcome))
    for kill in range(kills):
        while len(outcome.acknowledged) < target * (kill + 1) / (kills + 1):
            await asyncio.sleep(random.uniform(0.01, 0.1))
        server.kill()
        click.echo(f"killed after {len(outcome.acknowledged)} acknowledged answers", err=True)
        await asyncio.to_thread(server.start)
    await asyncio.gather(*work)
    beside.cancel()
    return outcome


def verdict(folder: Path, outcome: Outcome, each: int) -> list[str]:
    """What does not hold, in words."""
    stored = open_store(folder / "runs" / "load" / "feedback").comparisons()
    ids = Counter(stored["id"])
    lost = [judgment for judgment in outcome.acknowledged if ids[judgment] != 1]
    items = Counter((row.image_a, *sorted((row.label_a, row.label_b))) for row in stored.itertuples())
    twice = stored.duplicated(["image_a", "label_a", "label_b", "annotator"]).sum()
    over = sum(count > each for count in items.values())
    problems = []
    if lost:
        problems.append(f"{len(lost)} acknowledged answers are not in the store exactly once")
    if over:
        problems.append(f"{over} questions have more than {each} answers")
    if twice:
        problems.append(f"{twice} questions were answered twice by the same person")
    click.echo(
        f"{len(outcome.acknowledged)} answers acknowledged, {len(stored)} stored, {len(items)} questions, at most "
        f"{max(items.values())} answers each; {outcome.failed} attempts met a dead server, {len(outcome.refused)} refused"
    )
    return problems


def latency(outcome: Outcome) -> str:
    """How long acknowledgements took, in milliseconds and beside bare requests of the same time."""
    median, p95, most = np.quantile(np.array(outcome.seconds) * 1000, [0.5, 0.95, 1.0])
    text = f"acknowledgement: median {median:.1f} ms, 95th percentile {p95:.1f} ms, longest {most:.0f} ms"
    if not outcome.bare_seconds:
        return f"{text}; no bare request got through to compare with"
    bare_median, bare_p95 = np.quantile(np.array(outcome.bare_seconds) * 1000, [0.5, 0.95])
    return (
        f"{text}; bare request: median {bare_median:.1f} ms, 95th percentile {bare_p95:.1f} ms; ratio {median / bare_median:.1f} "
        f"and {p95 / bare_p95:.1f}"
    )


@click.command()
@click.option("--annotators", default=50, show_default=True)
@click.option("--answers", default=2000, show_default=True)
@click.option("--kills", default=3, show_default=True)
@click.option("--each", default=2, show_default=True, help="answers asked for each question")
@click.option("--think", default=1.0, show_default=True, help="mean seconds between a person's answers")
@click.option("--port", default=8799, show_default=True)
def main(annotators: int, answers: int, kills: int, each: int, think: float, port: int) -> None:
    """Load test of the page's server, with SIGKILLs."""
    names = [f"person{number:02d}" for number in range(annotators)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = CONFIG.replace("COUNT", str(answers + 2 * annotators)).replace("EACH", str(each))
        (folder / "load.yaml").write_text(text.replace("NAMES", json.dumps(names)).replace("PORT", str(port)))
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        reference = [sys.executable, "-m", "stages.cli", "reference", "--config", "load.yaml"]
        subprocess.run(reference, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        server = Server(folder, port)
        server.start()
        started = time.perf_counter()
        try:
            outcome = asyncio.run(campaign(server, names, answers, kills, think))
        finally:
            server.kill()
        problems = verdict(folder, outcome, each)
    click.echo(
        f"{annotators} annotators at once, one answer in {think:g} s each on average, {kills} SIGKILLs, "
        f"{time.perf_counter() - started:.0f} s"
    )
    click.echo(latency(outcome))
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
