"""Commands in processes of their own, as `subprocess` starts them, without the seconds that imports take.

`start_command` and `run_command` are for `python` with the arguments that follow it. On Linux the process is forked by
a server that has imported the project (`support.command_server`), one for all test workers, started at its first use.
Tests of imports, of Python's own options, and of the installed script's start use `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from support.command_server import Request

ROOT = Path(__file__).resolve().parents[2]
FORKS = sys.platform == "linux" and "FRESH_INTERPRETERS" not in os.environ
PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT


class CommandServer:
    """A connection to the server process, which the first to want one starts."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        self._address = Path(tempfile.gettempdir()) / f"image-rlhf-commands-{run}"
        self._process: subprocess.Popen[bytes] | None = None
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with FileLock(f"{self._address}.lock"):
            try:
                self._control.connect(str(self._address))
            except (FileNotFoundError, ConnectionRefusedError):
                self._address.unlink(missing_ok=True)
                self._process = self._launch()
                self._control.connect(str(self._address))
        atexit.register(self.close)

    def _launch(self) -> subprocess.Popen[bytes]:
        # Arrow's allocator would start a thread, which no fork has.
        more = {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._address))
            listener.listen()
            return subprocess.Popen(
                [sys.executable, "-m", "support.command_server", str(listener.fileno())],
                env=os.environ | more | {"OMP_NUM_THREADS": "1"},
                pass_fds=[listener.fileno()],
            )

    def start(self, request: Request, streams: Sequence[int]) -> tuple[int, int]:
        """The pid of a new process, and the pipe that will give its return code."""
        status, other = os.pipe()
        socket.send_fds(self._control, [json.dumps(asdict(request)).encode()], [*streams, other])
        os.close(other)
        return _read_number(status), status

    def close(self) -> None:
        self._control.close()
        if self._process:
            for path in (self._address, Path(f"{self._address}.lock")):
                path.unlink(missing_ok=True)
            self._process.wait()  # until the other workers have closed theirs


@functools.cache
def command_server() -> CommandServer:
    return CommandServer()


def _read_number(status: int) -> int:
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(status, 1)
        assert data, "the server of commands has ended"
        line += data
    return int(line)


class CommandProcess:
    """A process that the server has forked, with the parts of `subprocess.Popen` that tests use."""

    def __init__(self, request: Request, stdin: Any, stdout: Any, stderr: Any, text: bool) -> None:
        self.args = request.arguments
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._readers: list[tuple[threading.Thread, list[Any]]] | None = None
        mine: list[int] = []  # descriptors that only the command needs
        self.stdin, given = _stream(stdin, 0, text, mine)
        self.stdout, printed = _stream(stdout, 1, text, mine)
        self.stderr, errors = (None, printed) if stderr == STDOUT else _stream(stderr, 2, text, mine)
        self.pid, self._status = command_server().start(request, [given, printed, errors])
        weakref.finalize(self, os.close, self._status)
        for descriptor in mine:
            os.close(descriptor)

    def poll(self) -> int | None:
        """The return code, None as long as it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The return code; negative if a signal ended it.

        Raises:
            subprocess.TimeoutExpired: it has not ended after so many seconds.
        """
        if self.returncode is None and not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = _read_number(self._status)
            return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What is left to read of both streams, once the command has ended; raises as `wait` does."""
        if self._readers is None:
            self._readers = [_read_all(self.stdout), _read_all(self.stderr)]
        if self.stdin:
            self.stdin.close()
        self.wait(timeout)
        for reader, _ in self._readers:
            reader.join()
        stdout, stderr = (read[0] if read else None for _, read in self._readers)
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _stream(wanted: Any, descriptor: int, text: bool, mine: list[int]) -> tuple[IO[Any] | None, int]:
    """The file of this end, if `wanted` is a pipe, and the descriptor of the command's end."""
    if wanted is None:
        return None, descriptor
    if wanted == DEVNULL:
        mine.append(os.open(os.devnull, os.O_RDWR))
        return None, mine[-1]
    if wanted != PIPE:
        return None, wanted if isinstance(wanted, int) else wanted.fileno()
    reader, writer = os.pipe()
    ours, theirs = (reader, writer) if descriptor else (writer, reader)
    mine.append(theirs)
    mode = ("r" if descriptor else "w") + ("" if text else "b")
    return os.fdopen(ours, mode, encoding="utf-8" if text else None), theirs


def _read_all(stream: IO[Any] | None) -> tuple[threading.Thread, list[Any]]:
    """A thread that reads to the end, and where it puts what it has read."""
    read: list[Any] = []

    def drain() -> None:
        if stream and not stream.closed:
            with stream:
                read.append(stream.read())

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    return reader, read


def start_command(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    text: bool = True,
    open_files: int | None = None,
) -> Any:
    """Start `python` with these arguments (`-m stages.cli ...`); what follows is as `subprocess.Popen` takes it.

    Args:
        open_files: what `ulimit -n` sets in a shell; this process's limits unless given.
    """
    words = [os.fspath(argument) for argument in arguments]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE) if open_files is None else (open_files, open_files)
    if FORKS:
        request = Request(words, os.fspath(cwd or Path.cwd()), dict(os.environ if env is None else env), limits)
        return CommandProcess(request, stdin, stdout, stderr, text)
    command = [sys.executable, *words]
    if open_files is not None:
        command = ["sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh", *command]
    return subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=text)


def run_command(
    arguments: Sequence[str | os.PathLike[str]], *, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run it to its end, its two streams captured unless told otherwise.

    Raises:
        subprocess.TimeoutExpired: it was killed after so many seconds.
    """
    process = start_command(arguments, **{"stdout": PIPE, "stderr": PIPE} | options)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
