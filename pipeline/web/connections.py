"""Connections that must send a whole request in time, and may read the answer to one that was refused.

uvicorn waits for ever for the end of a request's headers, and closes a connection that is still sending at once, so
that the system resets it and the answer is lost. `Connection` mends both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER_SECONDS = 2.0  # how long a refused sender may go on before the connection is cut
LINGER_BYTES = 4 * 2**20  # and how much it may send


@dataclass
class Patience:
    """How long and how many connections are waited for, and which are just now.

    Attributes:
        seconds: within which a request's headers must have come in; its body has as long again.
        most: connections held at once; beyond it the one that has been sending its request longest is closed.
        on_closed: told of each connection that was closed because it was slow.
        reading: connections whose request has not come in yet, the oldest first.
    """

    seconds: float
    most: int
    on_closed: Callable[[], None] = lambda: None
    reading: dict[Connection, None] = field(default_factory=dict)

    def protocol(self) -> type[H11Protocol]:
        """uvicorn's `http`: it makes a protocol of this class for each connection."""
        return type("PatientConnection", (Connection,), {"patience": self})


class Connection(H11Protocol):
    """uvicorn's protocol with a deadline for each request, and a lingering close."""

    patience: Patience

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._lingering = _Lingering(self, transport)
        super().connection_made(self._lingering)  # type: ignore[arg-type]
        patience = self.patience
        if len(self.connections) > patience.most:
            slowest = next(iter(patience.reading), self)
            patience.on_closed()
            slowest._stop_reading()
            slowest._lingering.cut()
            if slowest is self:
                return
        self._start_reading(patience.seconds)

    def data_received(self, data: bytes) -> None:
        if self._lingering.discards(data):
            return
        if self._deadline is None:
            self._start_reading(self.patience.seconds)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._lingering.over()
        super().connection_lost(exc)

    @property
    def sending(self) -> bool:
        """Whether the other side is in the middle of a body."""
        return self.conn.their_state is h11.SEND_BODY

    def _start_reading(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_slow)
        self.patience.reading[self] = None

    def _stop_reading(self) -> None:
        self.patience.reading.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._stop_reading()
        self.patience.on_closed()
        if self.sending and not self.cycle.response_complete and not self._lingering.is_closing():
            # The application has a deadline for bodies and answers by itself; one that does not is disconnected.
            self._deadline = self.loop.call_later(self.patience.seconds, self._lingering.cut)
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer_408()
        self._lingering.cut()

    def _answer_408(self) -> None:
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        text = b'{"detail": "the request did not come in within %g seconds"}' % self.patience.seconds
        for event in (h11.Response(status_code=408, headers=headers), h11.Data(data=text), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")


class _Lingering:
    """A transport that, when closed under a sender, ends its own side only and lets the sender read the answer."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection, self._transport = connection, transport
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._timer is not None or self.is_closing() or not self._connection.sending:
            self.cut()
        elif self._transport.can_write_eof():
            self._timer = self._connection.loop.call_later(LINGER_SECONDS, self.cut)
            self._transport.write_eof()
            self._transport.resume_reading()
        else:  # TLS
            self.cut()

    def is_closing(self) -> bool:
        return self._timer is not None or self._transport.is_closing()

    def discards(self, data: bytes) -> bool:
        """Whether what comes in is not wanted any more."""
        if self._timer is None:
            return False
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.cut()
        return True

    def cut(self) -> None:
        self._transport.close()

    def over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
