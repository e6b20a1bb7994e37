"""`make load-test`: many concurrent annotators, while servers are killed and a database is restarted.

With CSV files, 50 annotators answer at one server until 2,000 answers are acknowledged; meanwhile it is killed with SIGKILL
three times and restarted. With `--store postgresql`, 300 annotators answer at three servers until 10,000 answers are
acknowledged; two servers are killed, and the database is stopped without a checkpoint and restarted. It starts its own
PostgreSQL in a temporary folder.

Afterwards every acknowledged answer must be in the store exactly once, and no question may have more answers, or leases and
answers together, than were asked for; otherwise the exit code is 1.

The latency of an acknowledgement is measured in the attempt that succeeded; failed attempts are counted. It depends on the
machine and its load, so it is reported relative to a bare request (the page's settings, nothing stored), which another
client sends all the time. No latency makes the test fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click
import httpx

from benchmarks.load_clients import Client, Outcome, annotate, latency, send_bare_requests
from benchmarks.load_servers import LeaseMonitor, Server, environment, same_links
from benchmarks.postgres_process import OWNER, PostgresProcess, postgres_programs
from feedback_store.store import FeedbackStore
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
  store: STORE
  server: {open_browser: false}
"""


@dataclass(frozen=True)
class Load:
    """What is done: numbers of people, answers, servers, kills and restarts of the database; mean seconds of thinking."""

    annotators: int
    answers: int
    servers: int
    kills: int
    restarts: int
    think: float


LOADS = {"csv": Load(50, 2000, 1, 3, 0, 1.0), "postgresql": Load(300, 10_000, 3, 2, 1, 3.0)}
Fault = tuple[str, Callable[[], None], Callable[[], None]]  # its name, what breaks something, and what repairs it


async def run_clients(servers: Sequence[Server], names: list[str], load: Load, faults: Sequence[Fault]) -> Outcome:
    """Run all annotators, and cause the faults at equal distances."""
    outcome, limits = Outcome(), httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncHTTPTransport(limits=limits) as transport:
        clients = [Client(servers, number, outcome, transport) for number in range(len(names))]
        work = [
            asyncio.create_task(annotate(client, name, target=load.answers, think=load.think))
            for client, name in zip(clients, names, strict=True)
        ]
        apart = replace_outcome(Client(servers, 0, Outcome(), transport), outcome)
        bare = asyncio.create_task(send_bare_requests(apart, names[0], load.think / 4))
        for number, (what, cause, repair) in enumerate(faults):
            while len(outcome.acknowledged) < load.answers * (number + 1) / (len(faults) + 1):
                await asyncio.sleep(random.uniform(0.01, 0.1))
            await asyncio.to_thread(cause)
            click.echo(f"{what} after {len(outcome.acknowledged)} acknowledged answers", err=True)
            await asyncio.to_thread(repair)
        await asyncio.gather(*work)
        bare.cancel()
    return outcome


def replace_outcome(client: Client, outcome: Outcome) -> Client:
    """A client whose failed attempts do not count, and whose latencies do."""
    client.outcome = replace(Outcome(), bare_seconds=outcome.bare_seconds)
    return client


def verdict(store: FeedbackStore, outcome: Outcome, each: int) -> list[str]:
    """Problems of the stored answers, as messages."""
    stored = store.comparisons()
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


def new_database() -> PostgresProcess:
    """A PostgreSQL with tables, and its password in the environment."""
    from feedback_store.postgres_store.migrate import migrate

    if postgres_programs() is None:
        raise SystemExit("PostgreSQL is not installed; apt-get install postgresql, or leave STORE out")
    database = PostgresProcess()
    os.environ["PGPASSWORD"] = database.password
    migrate(database.address(OWNER))
    database.add_server_role()
    return database


@click.command()
@click.option("--store", type=click.Choice(list(LOADS)), default="csv", show_default=True)
@click.option("--annotators", type=int)
@click.option("--answers", type=int)
@click.option("--servers", type=int)
@click.option("--kills", type=int, help="of a server, with SIGKILL")
@click.option("--restarts", type=int, help="of the database")
@click.option("--think", type=float, help="mean seconds between a person's answers")
@click.option("--each", default=2, show_default=True, help="answers asked for each question")
def main(store: str, each: int, **numbers: float | None) -> None:
    """Load test of the page's servers, with SIGKILLs and restarts of the database."""
    load = replace(LOADS[store], **{name: number for name, number in numbers.items() if number is not None})
    names = [f"person{number:03d}" for number in range(load.annotators)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and database end with this process
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = new_database() if store == "postgresql" else None
        address = "csv"
        if database:
            stack.callback(database.remove)
            address = f"{database.address()}?collection=load"
        text = CONFIG.replace("COUNT", str(load.answers + 2 * load.annotators)).replace("EACH", str(each))
        text = text.replace("NAMES", json.dumps(names)).replace("STORE", json.dumps(address))
        (folder / "load.yaml").write_text(text)
        reference = [sys.executable, "-m", "stages.cli", "reference", "--config", "load.yaml"]
        subprocess.run(reference, cwd=folder, env=environment({}), check=True, stdout=subprocess.DEVNULL)
        servers = [Server(folder, number, {}) for number in range(load.servers)]
        for server in servers:
            server.start()
            stack.callback(server.kill)
        faults: list[Fault] = [
            ("server killed", servers[kill % len(servers)].kill, servers[kill % len(servers)].start)
            for kill in range(load.kills)
        ]
        if database:
            faults += [("database stopped", lambda: database.stop("immediate"), database.start)] * load.restarts
        monitor = LeaseMonitor(database, each) if database else None
        if monitor:
            stack.enter_context(monitor)
        started = time.perf_counter()
        outcome = asyncio.run(run_clients(servers, names, load, faults))
        seconds = time.perf_counter() - started
        stored = open_store(address if database else folder / "runs" / "load" / "feedback")
        problems = verdict(stored, outcome, each) + same_links(servers) + (monitor.problems() if monitor else [])
    click.echo(
        f"{store}: {load.annotators} concurrent annotators at {load.servers} servers, one answer in {load.think:g} s each on "
        f"average, {load.kills} SIGKILLs, {load.restarts} restarts of the database, {seconds:.0f} s, "
        f"{len(outcome.acknowledged) / seconds:.0f} answers a second"
    )
    if monitor:
        click.echo(f"leases and answers of an item: at most {monitor.most} of {each} in {monitor.looks} looks")
    click.echo(latency(outcome))
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
