"""A transport that closes kindly under a sender, and does not wait for ever for one who never reads the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_SECONDS = 2.0  # how long a refused sender may go on before the connection is cut
LINGER_BYTES = 4 * 2**20  # and how much it may send


class PatientTransport:
    """Closed under a sender, it ends its own side only and lets the sender read the answer.

    Args:
        sending: whether the other side is in the middle of a body.
        seconds: within which some of what is waiting to be sent must have been taken.
        on_stuck: called when that is not so, before the connection is cut.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
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
        """Whether what comes in is not wanted any more."""
        if self._lingering is None:
            return False
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.cut()
        return True

    def cut(self) -> None:
        """Close both sides once all is sent."""
        self._transport.close()
        self.watch()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._transport.abort()

    def watch(self) -> None:
        """Abort unless what waits to be sent gets less in every period of `seconds`."""
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
        """All is sent, or will be."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def over(self) -> None:
        """The connection is gone."""
        self.unwatch()
        if self._lingering is not None:
            self._lingering.cancel()
