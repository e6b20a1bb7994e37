"""A transport that lets a refused sender read the response, and aborts if a client does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_SECONDS = 2.0  # a refused sender may continue so long before the connection is closed
LINGER_BYTES = 4 * 2**20  # and send so much


class PatientTransport:
    """A lingering close: while the client sends, only the server's side is closed, so that the client reads the response.

    Args:
        sending: whether the client is in the middle of a body.
        seconds: in which the client must read some of the pending data.
        on_stuck: called before the connection is aborted because it did not.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        sending: Callable[[], bool],
        seconds: float,
        on_stuck: Callable[[], None],
    ) -> None:
        self._transport, self._loop, self._sending = transport, loop, sending
        self._seconds, self._on_stuck = seconds, on_stuck
        self._lingering: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._discarded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._lingering is not None or self.is_closing() or not self._sending():
            self.cut()
        elif self._transport.can_write_eof():
            self._lingering = self._loop.call_later(LINGER_SECONDS, self.cut)
            self._transport.write_eof()
            self._transport.resume_reading()
        else:  # TLS
            self.cut()

    def is_closing(self) -> bool:
        return self._lingering is not None or self._transport.is_closing()

    def discards(self, data: bytes) -> bool:
        """Whether received data is discarded, because the connection is closing."""
        if self._lingering is None:
            return False
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.cut()
        return True

    def cut(self) -> None:
        """Close both sides after all data is sent."""
        self._transport.close()
        self.watch()

    def abort(self) -> None:
        """Close immediately; unsent data is lost."""
        self._transport.abort()

    def watch(self) -> None:
        """Abort unless the amount of pending data falls in every period of `seconds`."""
        if self._watching is None and (unsent := self._transport.get_write_buffer_size()):
            self._watching = self._loop.call_later(self._seconds, self._check, unsent)

    def _check(self, before: int) -> None:
        self._watching = None
        if self._transport.get_write_buffer_size() < before:
            self.watch()
        else:
            self._on_stuck()
            self.abort()

    def unwatch(self) -> None:
        """Stop watching: the data is read."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def over(self) -> None:
        """Cancel all timers: the connection is closed."""
        self.unwatch()
        if self._lingering is not None:
            self._lingering.cancel()
