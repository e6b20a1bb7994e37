"""`make load-test`: many concurrent annotators, while the server is killed repeatedly.

Fifty annotators answer until 2,000 answers are acknowledged; meanwhile the server is killed with SIGKILL three times and
restarted. Afterwards every acknowledged answer must be in the store exactly once, and no question may have more answers
than were asked for; otherwise the exit code is 1.

The latency of an acknowledgement is measured in the attempt that succeeded; failed attempts are counted. It depends on the
machine and its load, so it is reported relative to a bare request (the page's settings, nothing stored), which another
client sends all the time. No latency makes the test fail.
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
    """Results of all clients: ids of acknowledged answers, latencies in seconds, failed attempts and refusals."""

    acknowledged: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    failed: int = 0
    refused: list[str] = field(default_factory=list)


class Server:
    """The real command in a separate process."""

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
            if match := re.match(r"\s+(\S+)\s+(http\S+/enter/\S+)", line):
                self.links[match[1]] = match[2]
            if line.startswith("Every answer"):
                return
        raise SystemExit(f"the server did not start: {self.process.wait()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def annotate(server: Server, name: str, outcome: Outcome, *, target: int, think: float) -> None:
    """Open the link, take a few questions at a time, and send each answer until it is acknowledged."""
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, headers={"Origin": base}, timeout=10) as client:
        entered = await send_with_retry(client, outcome, "GET", server.links[name])
        home = entered.headers["location"]
        tasks: list[dict[str, object]] = []
        while len(outcome.acknowledged) < target:
            if not tasks:
                reply = await send_with_retry(client, outcome, "POST", home + "next", body={"wanted": 4})
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
            body = {"answers": [answer]}
            reply = await send_with_retry(client, outcome, "POST", home + "answers", body=body, timed=True)
            outcome.acknowledged += reply.json()["stored"]
            outcome.refused += [refused["reason"] for refused in reply.json()["refused"]]


async def send_bare_requests(server: Server, name: str, think: float, outcome: Outcome) -> None:
    """Send bare requests until cancelled; those that fail do not count."""
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        home = (await send_with_retry(client, Outcome(), "GET", server.links[name])).headers["location"]
        while True:
            await asyncio.sleep(random.expovariate(1 / think))
            started = time.perf_counter()
            with contextlib.suppress(httpx.TransportError):
                (await client.get(home + "session")).raise_for_status()
                outcome.bare_seconds.append(time.perf_counter() - started)


async def send_with_retry(
    client: httpx.AsyncClient, outcome: Outcome, method: str, path: str, *, body: object = None, timed: bool = False
) -> httpx.Response:
    """Send a request until the server replies."""
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


async def run_clients(server: Server, names: list[str], *, target: int, kills: int, think: float) -> Outcome:
    """Run all annotators, and kill and restart the server at equal distances."""
    outcome = Outcome()
    work = [asyncio.create_task(annotate(server, name, outcome, target=target, think=think)) for name in names]
    bare = asyncio.create_task(send_bare_requests(server, names[0], think / 4, outcome))
    for kill in range(kills):
        while len(outcome.acknowledged) < target * (kill + 1) / (kills + 1):
            await asyncio.sleep(random.uniform(0.01, 0.1))
        server.kill()
        click.echo(f"killed after {len(outcome.acknowledged)} acknowledged answers", err=True)
        await asyncio.to_thread(server.start)
    await asyncio.gather(*work)
    bare.cancel()
    return outcome


def verdict(folder: Path, outcome: Outcome, each: int) -> list[str]:
    """Problems of the stored answers, as messages."""
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
        f"{max(items.values())} answers each; {outcome.failed} attempts failed, {len(outcome.refused)} refused"
    )
    return problems


def latency(outcome: Outcome) -> str:
    """Latencies of acknowledgements in milliseconds, and relative to bare requests."""
    median, p95, most = np.quantile(np.array(outcome.seconds) * 1000, [0.5, 0.95, 1.0])
    text = f"acknowledgement: median {median:.1f} ms, 95th percentile {p95:.1f} ms, maximum {most:.0f} ms"
    if not outcome.bare_seconds:
        return f"{text}; no bare request succeeded, so there is no ratio"
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
            outcome = asyncio.run(run_clients(server, names, target=answers, kills=kills, think=think))
        finally:
            server.kill()
        problems = verdict(folder, outcome, each)
    click.echo(
        f"{annotators} concurrent annotators, one answer in {think:g} s each on average, {kills} SIGKILLs, "
        f"{time.perf_counter() - started:.0f} s"
    )
    click.echo(latency(outcome))
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
