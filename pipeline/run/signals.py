"""Ctrl-C and SIGTERM: both stop a stage where it is, with what is open closed in order, and neither tears a file that is being written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program was when it came."""


# The stop that came since the outermost `stoppable` was entered. It is kept because raising alone is not enough: an
# exception that is raised in a finaliser or in a callback from C++ is printed, or becomes another one, and is lost.
_came: type[KeyboardInterrupt] | None = None


def _stop(number: int, frame: FrameType | None) -> None:
    global _came
    _came = _came or _kind(number)
    raise _came


def _kind(number: int) -> type[KeyboardInterrupt]:
    return Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _handlers(handler: Any) -> dict[int, Any]:
    """Set the handler of both signals; returns the previous ones. A signal that is ignored stays ignored, as for jobs
    that a shell starts in the background."""
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in numbers}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) != signal.SIG_IGN:  # unless the process ends
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python


def _in_main_thread() -> bool:
    """Only the main thread can change what a signal does; in others nothing changes."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` and Ctrl-C KeyboardInterrupt."""
    global _came
    if not _in_main_thread():
        yield
        return
    before = _handlers(_stop)
    outer, _came = _came, None
    try:
        yield
    finally:
        _came = outer
        _restore(before)


@contextmanager
def defer_signals(then_stop: bool = True) -> Iterator[None]:
    """Signals that come inside wait until it is left.

    Args:
        then_stop: raise then what came; where the program stops already, a further signal has nothing to add.
    """
    if not _in_main_thread():
        yield
        return
    came: list[int] = []
    before = _handlers(lambda number, _: came.append(number))
    try:
        yield
    finally:
        _restore(before)
    if came and then_stop:
        raise _kind(came[0])


def came() -> KeyboardInterrupt | None:
    """The stop that came while the innermost `stoppable` is active, whatever became of its exception."""
    return _came() if _came else None


def ignore_further_signals() -> None:
    """For the end of a process: what is left to do takes a moment, and a second Ctrl-C would only print a traceback."""
    if _in_main_thread():
        _handlers(signal.SIG_IGN)


def exit_code(stop: KeyboardInterrupt) -> int:
    """As shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 143 if isinstance(stop, Terminated) else 130
