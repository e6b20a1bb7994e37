"""Ctrl-C and SIGTERM: both stop a stage in an orderly way, and neither interrupts the write of a file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, as KeyboardInterrupt is on Ctrl-C."""


# The first stop since the innermost `stoppable` was entered. It is stored because an exception that is raised in a finaliser
# or in a callback from C++ may be lost.
_received: type[KeyboardInterrupt] | None = None


def _stop(number: int, frame: FrameType | None) -> None:
    global _received
    _received = _received or _kind(number)
    raise _received


def _kind(number: int) -> type[KeyboardInterrupt]:
    return Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _handlers(handler: Any) -> dict[int, Any]:
    """Set the handler of both signals; returns the previous ones.

    An ignored signal stays ignored, as in jobs that a shell starts in the background.
    """
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in numbers}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) != signal.SIG_IGN:  # unless the process ends
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python


def _in_main_thread() -> bool:
    """Only the main thread can set signal handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` and Ctrl-C KeyboardInterrupt."""
    global _received
    if not _in_main_thread():
        yield
        return
    before = _handlers(_stop)
    outer, _received = _received, None
    try:
        yield
    finally:
        _received = outer
        _restore(before)


@contextmanager
def defer_signals(then_stop: bool = True) -> Iterator[None]:
    """Defer signals to the end of the context.

    Args:
        then_stop: raise the deferred signal at the end; False if the program is already stopping.
    """
    if not _in_main_thread():
        yield
        return
    deferred: list[int] = []
    before = _handlers(lambda number, _: deferred.append(number))
    try:
        yield
    finally:
        _restore(before)
    if deferred and then_stop:
        raise _kind(deferred[0])


def received_stop() -> KeyboardInterrupt | None:
    """The stop received inside the innermost `stoppable`, even if its exception was lost."""
    return _received() if _received else None


def ignore_further_signals() -> None:
    """Ignore signals while the process ends: a second Ctrl-C would only print a traceback."""
    if _in_main_thread():
        _handlers(signal.SIG_IGN)


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code by the convention of shells: 130 for Ctrl-C, 143 for SIGTERM."""
    return 143 if isinstance(stop, Terminated) else 130
