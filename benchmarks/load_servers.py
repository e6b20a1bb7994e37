"""The servers of `make load-test`, each the real command in a process of its own, and the database that they share."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.postgres_process import PostgresProcess

LOOK_SECONDS = 0.1


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, for a command of this checkout."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


class Server:
    """`collect` on the configuration load.yaml in a folder.

    Args:
        more: variables of its environment.
    """

    def __init__(self, folder: Path, number: int, more: Mapping[str, str]) -> None:
        with socket.socket() as free:  # it keeps its port when it is started again
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.messages, self.environment = folder, folder / f"server-{number}.log", environment(more)
        self.links: dict[str, str] = {}

    def start(self) -> None:
        """Returns when it listens."""
        command = [sys.executable, "-m", "stages.cli", "collect", "--config", "load.yaml"]
        command += ["--set", f"collect.server.port={self.port}"]
        with self.messages.open("a") as messages:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.PIPE, stderr=messages, text=True, env=self.environment
            )
        assert self.process.stdout
        for line in self.process.stdout:
            if match := re.match(r"\s+(\S+)\s+(http\S+/enter/\S+)", line):
                self.links[match[1]] = match[2]
            if line.startswith("Every answer"):
                return
        raise SystemExit(f"the server did not start: {self.process.wait()}\n{self.messages.read_text()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class LeaseMonitor:
    """Looks all the time whether the leases and answers of an item are more than were asked for.

    A lease that was answered stays in the table as done, so that its rows are those who hold an item or have answered it.
    """

    def __init__(self, database: PostgresProcess, each: int) -> None:
        self.database, self.each = database, each
        self.most, self.looks = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> LeaseMonitor:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psycopg

        query = """
            SELECT coalesce(max(n), 0) FROM (
                SELECT count(*) AS n FROM image_rlhf.leases
                WHERE state = 'done' OR (state = 'held' AND until > extract(epoch FROM clock_timestamp()))
                GROUP BY collection, item
            ) AS counts
        """
        while not self._stop.wait(LOOK_SECONDS):
            try:
                ((most,),) = self.database.execute(query)
            except psycopg.Error:  # it is being restarted
                time.sleep(LOOK_SECONDS)
                continue
            self.most, self.looks = max(self.most, most), self.looks + 1

    def problems(self) -> list[str]:
        """A message if an item was leased too often."""
        if self.most > self.each:
            return [f"an item had {self.most} leases and answers, and {self.each} are asked for"]
        return []


def same_links(servers: list[Server]) -> list[str]:
    """A message if the servers have different personal links."""
    tokens = Counter(
        tuple(sorted((name, link.rpartition("/")[2]) for name, link in one.links.items())) for one in servers
    )
    return [] if len(tokens) == 1 else ["the servers have different personal links"]
