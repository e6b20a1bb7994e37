"""Checkpoints: the state of a stage's loop, from which a killed stage resumes; each file is complete or absent.

The two newest states are kept, each with the hash of its content in its name; if the newest is damaged, this is logged
and the one before is used. A state includes the random streams, so that an interrupted run ends with the same weights,
bit for bit, as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch

from pipeline.errors import Stopped
from pipeline.run.atomic_files import writing
from pipeline.run.processes import lost_process
from pipeline.run.random_streams import random_streams, restore_random_streams
from pipeline.run.runtime import Runtime
from pipeline.run.signals import defer_signals, exit_code, received_stop, stoppable

_log = logging.getLogger(__name__)

MAX_FILES = 2
State = dict[str, Any]


class _HashingFile:
    """A file to write to, with the SHA-256 of the written bytes and the OSError of a failed write."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()
        self.refused: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save(state: State, path: Path) -> str:
    """Write a state to disk (fsync); returns the SHA-256 of the file, computed while writing.

    Signals must be deferred: torch's writer is C++, which turns an exception in `write` into another error.
    """
    with writing(path), path.open("wb") as file:
        hashed = _HashingFile(file)
        try:
            torch.save(state, hashed)  # type: ignore[arg-type]  # it only needs to write
        except RuntimeError:
            if hashed.refused:  # torch raises another error instead
                raise hashed.refused from None
            raise
        file.flush()
        os.fsync(file.fileno())
    return hashed.digest.hexdigest()


def _load(path: Path) -> State:
    """Read a file of `_save`; raises one of several errors if it is damaged."""
    payload = path.read_bytes()
    if hashlib.sha256(payload).hexdigest()[:16] != path.stem.split("-")[1]:
        raise ValueError("wrong hash")
    saved: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return saved


class Checkpoints:
    """States of one loop; used as a context manager around it.

    On Ctrl-C or SIGTERM inside the context the newest state offered is written before `Stopped` leaves it.

    Args:
        folder: of the files; None to save nothing.
        key: hash of inputs and settings; files of another key are deleted.
        seconds: minimum time between two writes.
        what: a step of the loop, for messages.
        runtime: of the processes that run the loop; the first one writes. Default: this one alone.
    """

    def __init__(
        self, folder: Path | None, key: str, *, seconds: float = 0.0, what: str = "", runtime: Runtime | None = None
    ) -> None:
        self.folder, self.key, self.seconds, self.what = folder, key, seconds, what
        self.runtime = runtime or Runtime(torch.device("cpu"))
        self.writes = self.runtime.is_main and folder is not None
        self.one_of_several = False
        self._offered: tuple[int, State] | None = None
        self._written = -1
        self._last = time.monotonic()

    def of(self, part: str) -> Checkpoints:
        """The checkpoints of one loop of several in the stage; `clear` of the parent deletes them, too."""
        folder = self.folder / part if self.folder else None
        checkpoints = Checkpoints(
            folder, self.key, seconds=self.seconds, what=f"{part} {self.what}", runtime=self.runtime
        )
        checkpoints.one_of_several = True  # its final state is needed until the stage ends
        return checkpoints

    def latest(self) -> State | None:
        """The newest valid state, or None; this process's random streams are restored with it.

        All processes must call it, and have the same state afterwards. Damaged files are logged and renamed, those of
        another key are deleted.
        """
        saved = self._newest() if self.runtime.is_main else None
        name: str | None = self.runtime.of_main(lambda: saved["name"] if saved else None)
        if name is None:
            return None
        if saved is None:
            assert self.folder is not None
            saved = _load(self.folder / name)
        restore_random_streams(saved["streams"], several=self.runtime.world > 1)
        self._written = saved["position"]
        return saved["state"]

    def _newest(self) -> State | None:
        """The newest valid file's content, with its name; damaged files are renamed, those of another key deleted."""
        for path in reversed(self._files()):
            try:
                saved = _load(path)
            except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                _log.warning(f"{path}: damaged ({error}); the stage resumes from the checkpoint before")
                path.rename(path.with_suffix(".damaged"))
                continue
            if saved["key"] == self.key:
                return {**saved, "name": path.name}
            path.unlink()
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.pt")) if self.folder else []

    def offer(self, position: int, state: Callable[[], State]) -> None:
        """Store the state that `state` returns (a copy), and write it if the last write is long enough ago.

        Raises:
            KeyboardInterrupt: a signal was received, and its exception was lost.
        """
        if not self.writes:
            if self.runtime.shard:
                state()  # it gathers what is divided
            return
        self._offered = (position, {"state": state(), "streams": random_streams()})
        if stop := received_stop():
            raise stop
        if time.monotonic() - self._last >= self.seconds:
            self.write()

    def write(self) -> None:
        """Write the newest state offered, if it is not written yet, and delete all but the two newest files.

        Signals are deferred until the state is on disk.

        Raises:
            OSError: the disk is full or not writable; earlier files are kept.
            KeyboardInterrupt: a signal was received.
        """
        with defer_signals():
            self._write()

    def _write(self) -> None:
        if self._offered is None or self._offered[0] <= self._written or self.folder is None:
            return
        position, held = self._offered
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / ".writing"
        try:
            digest = _save({"key": self.key, "position": position, **held}, partial)
            partial.replace(self.folder / f"{position:08}-{digest[:16]}.pt")
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self._written, self._last = position, time.monotonic()
        for old in self._files()[:-MAX_FILES]:
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all checkpoints."""
        if self.writes and self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Checkpoints:
        self._stoppable = stoppable()
        self._stoppable.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop = error if isinstance(error, KeyboardInterrupt) else received_stop() if error else None
        try:
            if stop and self.writes:
                with defer_signals(then_stop=False):
                    self._write()
            elif error is not None and self.writes and lost_process(error):
                self._write()
            elif error is None and self.one_of_several:
                self.write()
        except KeyboardInterrupt as late:  # received while the last state was written, which is on disk now
            stop = late
        finally:
            self._stoppable.__exit__(None, None, None)
        if stop:
            done = f" after {self.what} {self._written}" if self._written > 0 else f" in the first {self.what}"
            raise Stopped(f"stopped{done}; the same command resumes from there", exit_code(stop)) from None
