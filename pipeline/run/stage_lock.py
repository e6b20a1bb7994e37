"""One process for each stage folder: two that write the same files would mix the settings of one with the model of the other.

The lock is the operating system's (flock, LockFileEx), so that it is free as soon as its holder is gone, however that
ended. The file beside it, which says who holds it, is for messages only and may be out of date.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run.atomic_files import Damaged, read_object, write_json
from pipeline.run.run_folder import RunFolder

Rest = ParamSpec("Rest")
Made = TypeVar("Made")
Run = Callable[Concatenate[Config, Rest], Made]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process is inside with the same folder.

    The lock is a file beside the folder, so that it outlives the folder and is no part of what the stage makes. Of
    several processes that run a stage together (torchrun) the first holds it for all.

    Raises:
        UserError: another process is; the message names it.
        OSError: the lock cannot be made.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock, note = folder.with_name(f".{folder.name}.lock"), folder.with_name(f".{folder.name}.lock.json")
    try:
        with FileLock(lock, timeout=0):
            holder = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            }
            write_json(note, holder)
            try:
                yield
            finally:
                note.unlink(missing_ok=True)
    except Timeout:
        raise UserError(
            f"{folder} is being written by another process ({_holder(note)}); wait until it ends, stop it, or give this "
            "run another name"
        ) from None


def _holder(note: Path) -> str:
    try:
        found = read_object(note, "pid", "host", "since")
    except (OSError, Damaged):  # it has only just taken the lock, or somebody deleted the note
        return "which has not said who it is"
    return f"pid {found['pid']} on {found['host']}, since {found['since']}"


def one_process(
    stage: str, unless: Callable[[Config], bool] = lambda _: False
) -> Callable[[Run[Rest, Made]], Run[Rest, Made]]:
    """Decorates a stage's `run(config, ...)`: it holds the lock of runs/<name>/<stage>/.

    Args:
        unless: of the configuration: several processes may run, since what they write together has a lock of its own.
    """

    def decorate(run: Run[Rest, Made]) -> Run[Rest, Made]:
        @functools.wraps(run)
        def locked(config: Config, *rest: Rest.args, **named: Rest.kwargs) -> Made:
            if unless(config):
                return run(config, *rest, **named)
            folder = RunFolder(config)
            folder.prepare()
            with alone(folder.path / stage):
                return run(config, *rest, **named)

        return locked

    return decorate
