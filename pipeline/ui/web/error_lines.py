"""Errors of a server in the terminal, at a limited rate: whoever causes them must not fill it."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

PER_PERIOD = 5  # lines of one kind
PERIOD = 60.0  # seconds
KINDS = 256  # that are told apart; all beyond are one kind
LOGGERS = ("uvicorn.error", "asyncio")
_NO_FILES = {errno.EMFILE, errno.ENFILE}


class ErrorLines(logging.Filter):
    """Lets a few lines of each kind through in a period, and says how many there were besides.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}  # start of the period, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown; the number of those like it that were not is added to its message."""
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
        if kind not in self._seen and len(self._seen) >= KINDS:
            kind = ""
        now = self._clock()
        start, lines = self._seen.get(kind, (now, 0))
        more = 0
        if now - start >= PERIOD:
            start, lines, more = now, 0, max(0, lines - PER_PERIOD)
        self._seen[kind] = (start, lines + 1)
        if lines >= PER_PERIOD:
            return None
        if lines == PER_PERIOD - 1:
            text += f" (more like this are counted, not shown, for {PERIOD:g} s)"
        return text + (f" ({more} more like this before)" if more else "")

    @contextmanager
    def on_loggers(self) -> Iterator[None]:
        """Filter what uvicorn and asyncio log, and at the end say what was not shown."""
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self)
        try:
            yield
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeFilter(self)
            if hidden := sum(max(0, lines - PER_PERIOD) for _, lines in self._seen.values()):
                _log.info(f"{hidden} more errors like those above were not shown")
