"""Rate limit for a server's error messages, so that clients cannot fill the terminal."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

MAX_LINES = 5  # of one kind per period
PERIOD_SECONDS = 60.0
MAX_KINDS = 256  # further kinds are counted together
LOGGERS = ("uvicorn.error", "asyncio")
_NO_FILES = {errno.EMFILE, errno.ENFILE}


class ErrorLines(logging.Filter):
    """Passes a few lines of each kind per period, and reports how many were dropped.

    Args:
        clock: returns seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}  # start of the period, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown; the number of dropped records like it is added to its message."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) and error.errno in _NO_FILES:
            record.msg, record.args, record.exc_info = (
                (
                    f"{error.strerror}: new connections wait; raise the limit of open files (ulimit -n) or lower the number of "
                    "connections in the configuration"
                ),
                None,
                None,
            )
            error = None
        kind = f"{record.name} {str(record.msg).strip().splitlines()[:1]} {type(error).__name__} {error}"
        shown = self._shown(kind, record.getMessage().rstrip())
        if shown is None:
            return False
        record.msg, record.args = shown, None
        return True

    def _shown(self, kind: str, text: str) -> str | None:
        if kind not in self._seen and len(self._seen) >= MAX_KINDS:
            kind = ""
        now = self._clock()
        start, lines = self._seen.get(kind, (now, 0))
        more = 0
        if now - start >= PERIOD_SECONDS:
            start, lines, more = now, 0, max(0, lines - MAX_LINES)
        self._seen[kind] = (start, lines + 1)
        if lines >= MAX_LINES:
            return None
        if lines == MAX_LINES - 1:
            text += f" (more like this are counted, not shown, for {PERIOD_SECONDS:g} s)"
        return text + (f" ({more} more like this before)" if more else "")

    @contextmanager
    def on_loggers(self) -> Iterator[None]:
        """Filter the logs of uvicorn and asyncio, and report the number of dropped lines at the end."""
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self)
        try:
            yield
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeFilter(self)
            if hidden := sum(max(0, lines - MAX_LINES) for _, lines in self._seen.values()):
                _log.info(f"{hidden} more errors like those above were not shown")
