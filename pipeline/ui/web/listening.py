"""Listen on an address, run a server until a signal, and shut it down gracefully."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from pipeline.errors import UserError

ALL_INTERFACES = ("0.0.0.0", "::")
BACKLOG = 1024
# Shares of the grace period: after the first, running work is abandoned, so that it can still be answered; after the
# second, connections are closed, so that the application can still shut down.
ABANDON_SHARE, CUT_SHARE = 0.6, 0.8


@contextmanager
def listening(host: str, port: int, setting: str) -> Iterator[socket.socket]:
    """A listening socket; early clients wait while the server starts.

    Args:
        setting: the section of the configuration with host and port, for messages.

    Raises:
        UserError: the server cannot listen on the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(
            f"{setting}: cannot listen on {host}, port {port} ({error.strerror}; is the server already running?); set "
            f"{setting}.port to another port, or to 0 for any free one"
        ) from error
    with listener:
        yield listener


def reachable_name(host: str) -> str:
    """The name by which others reach a server that listens on `host`."""
    name = socket.gethostname() if host in ALL_INTERFACES else host
    return f"[{name}]" if ":" in name else name


def serve_until_stopped(
    config: uvicorn.Config,
    listener: socket.socket,
    grace: float,
    *,
    on_stop: Callable[[], None] = lambda: None,
    abandon: Callable[[], None] = lambda: None,
    finished: Callable[[], bool] = lambda: False,
) -> None:
    """Run until SIGINT, SIGTERM or `finished`, then finish running requests, but return within `grace` seconds in any case.

    The server has its own thread, so that this function handles the signals. A second signal ends the waiting.

    Args:
        on_stop: called at the first signal, before running requests are waited for.
        abandon: called if they take too long: ends running work, so that waiting clients get an error.
        finished: asked twice a second whether the server has nothing left to do.
    """
    config.timeout_graceful_shutdown = CUT_SHARE * grace  # type: ignore[assignment]  # asyncio takes any number
    running = uvicorn.Server(config)
    stop = threading.Event()

    def work() -> None:
        try:
            running.run(sockets=[listener])
        finally:
            stop.set()

    signals = 0

    def on_signal(*_: object) -> None:
        nonlocal signals
        signals += 1
        stop.set()

    def wait_until(deadline: float) -> None:
        while thread.is_alive() and time.monotonic() < deadline and signals < 2:
            thread.join(0.1)

    thread = threading.Thread(
        target=work, name="server", daemon=True
    )  # a daemon, so that it cannot keep the process alive
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    thread.start()
    try:
        while not stop.wait(0.5) and not finished():
            pass
    finally:
        stopped = time.monotonic()
        on_stop()
        running.should_exit = True
        wait_until(stopped + ABANDON_SHARE * grace)
        if thread.is_alive():
            abandon()
            wait_until(stopped + grace)
            logging.getLogger("uvicorn.error").disabled = True  # it would report requests that are cancelled on purpose
            running.force_exit = True
            thread.join(1.0)
            logging.getLogger("uvicorn.error").disabled = False
        for number, handler in previous.items():
            signal.signal(number, handler)


def allow_open_files() -> None:
    """Raise this process's limit of open files as far as possible: every connection is an open file."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS reports a hard limit that it does not grant
            return
