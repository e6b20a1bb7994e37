"""A process that has imported the project, and makes the commands that tests start by forking itself.

An import of torch and torchvision costs more processor time than most of what the tests do with a command. The server
has a single thread and runs none of the project's code, so that what it forks is as a fresh interpreter just after
its imports. `support.command_process` starts it and talks to it.

Each request is one packet with the JSON of a `Request` and four descriptors: the command's standard streams, and a
pipe that is told the command's pid and, once it has ended, its return code as subprocess counts it.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

MAX_REQUEST = 1 << 17  # bytes; most of it is the environment
PACKAGES = ("feedback_store", "pipeline", "stages")
# What the project imports in functions, or its libraries do at their first use.
LIBRARIES = (
    "anyio._backends._asyncio",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
)


@dataclass
class Request:
    """One command: Python's own arguments (`-m module`, `-c code` or a script, and what follows) and its surroundings."""

    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    open_files: tuple[int, int]  # soft and hard limit


def preload() -> None:
    """Import the whole project; what is missing here would be missing in the command as well."""
    names = [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    ]
    for name in (*names, *LIBRARIES):
        if not name.endswith(("__main__", "_tracker")):  # trackers import mlflow and wandb, which few commands use
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # its pages stay shared


def serve(listener: socket.socket) -> tuple[Request, list[int]] | None:
    """Fork for every request until all clients have gone; returns in each child, with its request and streams."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    clients: dict[int, socket.socket] = {}
    running: dict[int, tuple[int, int]] = {}  # by the descriptor that tells of the end: pid, the client's pipe
    while True:
        for key, _ in selector.select():
            if key.fd in running:
                pid, status = running.pop(key.fd)
                selector.unregister(key.fd)
                _, ended = os.waitpid(pid, 0)
                _tell(status, os.waitstatus_to_exitcode(ended))
                os.close(status)
                os.close(key.fd)
                continue
            if key.fd == listener.fileno():
                client, _ = listener.accept()
                clients[client.fileno()] = client
                selector.register(client, selectors.EVENT_READ)
                continue
            data, descriptors, _, _ = socket.recv_fds(clients[key.fd], MAX_REQUEST, 4)
            if not data:
                selector.unregister(key.fd)
                clients.pop(key.fd).close()
                if not clients:
                    return None
                continue
            *streams, status = descriptors
            pid = os.fork()
            if pid == 0:
                selector.close()
                for connection in (listener, *clients.values()):
                    connection.close()
                for other in (status, *running, *(told for _, told in running.values())):
                    os.close(other)
                return Request(**json.loads(data)), streams
            for stream in streams:
                os.close(stream)
            ends = os.pidfd_open(pid)
            running[ends] = pid, status
            selector.register(ends, selectors.EVENT_READ)
            _tell(status, pid)


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for this command any more
        os.write(status, f"{number}\n".encode())


def _open_stream(descriptor: int, errors: str | None) -> TextIO:
    """A standard stream as Python opens it at its start; `errors` is the default of the error handler."""
    encoding, _, wanted = os.environ.get("PYTHONIOENCODING", "").partition(":")
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    raw: Any = io.FileIO(descriptor, "wb" if descriptor else "rb", closefd=False)
    binary = raw if unbuffered and descriptor else (io.BufferedWriter(raw) if descriptor else io.BufferedReader(raw))
    return io.TextIOWrapper(
        binary,
        encoding=codecs.lookup(encoding or sys.__stdout__.encoding).name,  # type: ignore[union-attr]
        errors=errors if descriptor == 2 else wanted or errors,
        line_buffering=not unbuffered and (descriptor == 2 or raw.isatty()),
        write_through=unbuffered,
    )


def become(request: Request, streams: list[int]) -> None:
    """Take over what a fresh interpreter would have been given."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    resource.setrlimit(resource.RLIMIT_NOFILE, request.open_files)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request.cwd)
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request.environment)
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, given), *(path for path in sys.path[1:] if path not in own)]
    stdin, stdout = sys.__stdin__, sys.__stdout__
    sys.stdin = sys.__stdin__ = _open_stream(0, stdin.errors)  # type: ignore[misc, union-attr]
    sys.stdout = sys.__stdout__ = _open_stream(1, stdout.errors)  # type: ignore[misc, union-attr]
    sys.stderr = sys.__stderr__ = _open_stream(2, "backslashreplace")  # type: ignore[misc]


def run(arguments: list[str]) -> None:
    """Do what `python` does with these arguments."""
    first = arguments[0]
    if first == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


def end(code: Any) -> None:
    """End as the interpreter does, but for taking apart everything imported, which takes as long as the imports."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


def run_to_the_end(arguments: list[str]) -> None:
    """Run it, and end this process."""
    try:
        run(arguments)
        end(0)
    except SystemExit as ended:
        end(ended.code)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        end(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run, which then lets this process end
    preload()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: a fork would lose all but one"
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is None:
        end(0)
    else:
        become(*asked)
        run_to_the_end(asked[0].arguments)


if __name__ == "__main__":
    main()
