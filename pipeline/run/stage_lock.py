"""One process per stage folder: two that write the same files would mix their settings and models.

The lock is the operating system's (flock, LockFileEx), so that it is released whenever its holder ends. The file next to
it that names the holder is for messages only and may be out of date.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from filelock import FileLock, Timeout

from pipeline.config import RunSettings
from pipeline.errors import UserError
from pipeline.run.atomic_files import Damaged, read_object, write_json
from pipeline.run.run_folder import RunFolder

Rest = ParamSpec("Rest")
Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=RunSettings)
Run = Callable[Concatenate[Settings, Rest], Result]


@contextmanager
def stage_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    The lock file is next to the folder, so that it outlives the folder and is not an output of the stage. Of several
    processes that run a stage together (torchrun) the first holds it for all.

    Raises:
        UserError: another process holds it; the message names it.
        OSError: the lock file cannot be written.
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
            f"{folder}: being written by another process ({_holder(note)}); wait until it ends, stop it, or give this "
            "run another name"
        ) from None


def _holder(note: Path) -> str:
    try:
        holder = read_object(note, "pid", "host", "since")
    except (OSError, Damaged):  # it has just taken the lock, or the note was deleted
        return "unknown"
    return f"pid {holder['pid']} on {holder['host']}, since {holder['since']}"


class Locked(Protocol):
    def __call__(self, run: Run[Settings, Rest, Result], /) -> Run[Settings, Rest, Result]: ...


def one_process(stage: str, unless: Callable[[Any], bool] = lambda _: False) -> Locked:
    """Decorate a stage's `run(config, ...)` to hold the lock of runs/<name>/<stage>/.

    Args:
        unless: returns True for a configuration with which several processes may run.
    """

    def decorate(run: Run[Settings, Rest, Result]) -> Run[Settings, Rest, Result]:
        @functools.wraps(run)
        def locked(config: Settings, *rest: Rest.args, **named: Rest.kwargs) -> Result:
            if unless(config):
                return run(config, *rest, **named)
            folder = RunFolder(config)
            folder.prepare()
            with stage_lock(folder.path / stage):
                return run(config, *rest, **named)

        return locked

    return decorate
