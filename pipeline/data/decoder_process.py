"""One decoding process and the pipe to it; started when needed, and again after it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.data.decode import TooCostly
from pipeline.data.decode_limits import WALL_EXTRA, WALL_FACTOR
from pipeline.data.decoder_worker import Answer, Header, read_message, write_together

ROOT = Path(__file__).parents[2]  # from which the process imports this project


class Request(NamedTuple):
    """An image file and what is wanted of it.

    Attributes:
        header: for `decoder_worker.answer`.
        data: the file's bytes.
        seconds: limit of processor time.
    """

    header: Header
    data: bytes
    seconds: float


class DecodingProcess:
    """Belongs to one thread; only `kill` and `end` may be called from others.

    Attributes:
        deadline: of the current job, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.deadline = float("inf")
        self._popen: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._ended = False

    def ask(self, requests: Sequence[Request]) -> Generator[Answer]:
        """The process's answers to requests, in order; `{"slow": True}` if it used up its processor time.

        If the process ends at one of them, the answers end with that one's: ask again about those after it. Close the
        iterator if you do not read all.

        Raises:
            TooCostly: the process ended while it decoded the image.
            RuntimeError: the process cannot be started.
        """
        popen = self.start()
        assert popen.stdin
        assert popen.stdout
        self._expect(requests[0])
        with contextlib.suppress(OSError):  # the pipe broke: the process was killed, which reading shows
            write_together(popen.stdin, [(request.header, request.data) for request in requests])
        unread = len(requests)
        try:
            for request in requests:
                self._expect(request)
                answer = None
                with contextlib.suppress(OSError):
                    answer = read_message(popen.stdout)
                expired = self.deadline < time.monotonic()
                self.deadline = float("inf")
                if answer is None:
                    yield self._ended_by_image(expired)
                    return
                unread -= 1
                yield answer
        finally:
            if unread:  # nobody may take an answer for that to a later request
                self.discard()

    def _expect(self, request: Request) -> None:
        self.deadline = time.monotonic() + WALL_FACTOR * request.seconds + WALL_EXTRA

    def _ended_by_image(self, expired: bool) -> Answer:
        code = self.discard()
        if expired or code == -getattr(signal, "SIGPROF", 0):
            return {"slow": True}, b""
        raise TooCostly(f"ended the decoding process (code {code})")

    def kill(self) -> None:
        """Kill the process; the next request starts a new one."""
        with self._guard:
            if self._popen:
                self._popen.kill()

    def end(self) -> None:
        """Kill the process, and do not start it again."""
        with self._guard:
            self._ended = True
        self.kill()

    def start(self) -> subprocess.Popen[bytes]:
        """The running process, started if necessary.

        Raises:
            RuntimeError: it cannot be started, or `end` was called.
        """
        with self._guard:
            if self._ended:
                raise RuntimeError("the decoding process was ended")
            if self._popen is not None and self._popen.poll() is None:
                return self._popen
        self.discard()
        with self._guard:
            self._popen = popen = self._spawn()
        assert popen.stdout
        if read_message(popen.stdout) is None:
            raise RuntimeError(f"python -m pipeline.data.decoder_worker ended with code {self.discard()}")
        return popen

    @staticmethod
    def _spawn() -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.data.decoder_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries print about damaged files
            env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )

    def discard(self) -> int:
        """End the process and forget it; returns its exit code, 0 if there is none."""
        with self._guard:
            popen, self._popen = self._popen, None
        if popen is None:
            return 0
        popen.kill()
        code = popen.wait()
        for stream in (popen.stdin, popen.stdout):
            with contextlib.suppress(OSError):  # unsent data is lost
                if stream:
                    stream.close()
        return code
