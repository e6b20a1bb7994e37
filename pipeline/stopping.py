"""SIGTERM as an exception, so that it stops a stage as Ctrl-C does: where it is, with what is open closed in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program was when it came."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside; only the main thread can see to that, in others nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(stop: KeyboardInterrupt) -> int:
    """As shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 143 if isinstance(stop, Terminated) else 130
