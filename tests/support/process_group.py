"""Commands and functions that several processes run together, joined by gloo, with what torchrun sets in their environment."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.command_process import start_command

TIMEOUT = 280


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def start_ranks(processes: int, arguments: Sequence[str]) -> list[subprocess.Popen[Any]]:
    """`python` with these arguments, once per rank; standard error can be read."""
    group = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        start_command(
            list(arguments),
            env=os.environ | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]


def run_ranks(processes: int, *arguments: str) -> None:
    """The same, until all have ended, which they must do well."""
    ranks = start_ranks(processes, arguments)
    errors = [rank.communicate(timeout=TIMEOUT)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * processes, errors


def in_processes(processes: int, job: str, **arguments: Any) -> list[Any]:
    """What a function of `support.process_jobs` returns in each process."""
    with tempfile.TemporaryDirectory() as folder:
        run_ranks(processes, "-m", "support.process_jobs", job, json.dumps(arguments), folder)
        return [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(processes)]
