"""Connections with a deadline for each request, and with a lingering close, so that a refused client reads the response.

uvicorn waits indefinitely for the end of a request's headers. It also closes a connection immediately while the client is
still sending, so that the system resets it and the response is lost. `Connection` fixes both, also over TLS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import h11
from h11._connection import DEFAULT_MAX_INCOMPLETE_EVENT_SIZE
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.ui.web.http_rules import StrictHttp
from pipeline.ui.web.tls import Handshake
from pipeline.ui.web.transport import PatientTransport

BACKLOG = 128  # connections that the system may have ready; uvicorn's `backlog`
RESERVED_FILES = 64  # that a server opens besides its connections: images, stores, workers
MIN_CONNECTIONS = 32  # even if the limit of open files is lower


class Closable(Protocol):
    """A connection that may be closed to admit others."""

    def drop(self) -> None:
        """Close immediately."""


@dataclass
class ConnectionLimits:
    """The limits of connections, and the connections that are waited for.

    Attributes:
        seconds: deadline for a request's headers, and again for its body.
        most: maximum number of connections; beyond it the one that has been sending its request longest is closed, or
            else one that does not read its response. Lowered to fit the process's limit of open files.
        on_closed: called for each connection that was closed because it was slow.
        tls: encryption of connections; None for plain HTTP.
        reading: connections whose request, or TLS handshake, is incomplete, the oldest first.
        writing: connections whose client does not read, the oldest first.
    """

    seconds: float
    most: int
    on_closed: Callable[[], None] = lambda: None
    tls: ssl.SSLContext | None = None
    reading: dict[Closable, None] = field(default_factory=dict)
    writing: dict[Closable, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.most = min(self.most, _connections_possible())

    def protocol(self) -> type[asyncio.Protocol]:
        """The protocol class for uvicorn's `http`; it has one instance per connection."""
        plain = type("LimitedConnection", (Connection,), {"limits": self})
        if self.tls is None:
            return plain
        return type("LimitedHandshake", (Handshake,), {"limits": self, "connection": plain, "context": self.tls})

    def admits(self, newcomer: Closable, held: int) -> bool:
        """Close a connection if there are too many (`held` includes the newcomer); returns whether the newcomer stays."""
        if held <= self.most:
            return True
        slowest = next(iter(self.reading), None) or next(iter(self.writing), None) or newcomer
        self.on_closed()
        slowest.drop()
        return slowest is not newcomer


def _connections_possible() -> int:
    """The number of connections that the limit of open files allows, with room for a backlog that is accepted and closed."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    folder = Path("/dev/fd")
    opened = len(list(folder.iterdir())) if folder.is_dir() else RESERVED_FILES
    return max(MIN_CONNECTIONS, soft - opened - RESERVED_FILES - 2 * BACKLOG)


class Connection(H11Protocol):
    """uvicorn's protocol with a deadline for each request, strict HTTP, and a lingering close."""

    limits: ConnectionLimits

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn: StrictHttp = StrictHttp(
            self.config.h11_max_incomplete_event_size or DEFAULT_MAX_INCOMPLETE_EVENT_SIZE
        )
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        limits = self.limits
        self._patient = PatientTransport(
            transport,
            self.loop,
            sending=lambda: self.conn.their_state in (h11.SEND_BODY, h11.ERROR),
            seconds=limits.seconds,
            on_stuck=limits.on_closed,
        )
        super().connection_made(self._patient)  # type: ignore[arg-type]
        if limits.admits(self, len(self.connections)):
            self._start_reading(limits.seconds)

    def data_received(self, data: bytes) -> None:
        if self._patient.discards(data):
            return
        if self._deadline is None:
            self._start_reading(self.limits.seconds)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self.limits.writing.pop(self, None)
        self._patient.over()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.limits.writing[self] = None
        self._patient.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.limits.writing.pop(self, None)
        self._patient.unwatch()

    def drop(self) -> None:
        """Close immediately, to admit others."""
        self._stop_reading()
        self.limits.writing.pop(self, None)
        self.connections.discard(self)
        self._patient.abort()

    @property
    def sending(self) -> bool:
        """Whether the client is in the middle of a body."""
        return self.conn.their_state is h11.SEND_BODY

    def _start_reading(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_slow)
        self.limits.reading[self] = None

    def _stop_reading(self) -> None:
        self.limits.reading.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._stop_reading()
        self.limits.on_closed()
        if self.sending and not self.cycle.response_complete and not self._patient.is_closing():
            # The application has its own deadline for bodies and answers; otherwise it is disconnected.
            self._deadline = self.loop.call_later(self.limits.seconds, self._patient.cut)
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer(408, f"the request was not received within {self.limits.seconds:g} seconds")
        self._patient.cut()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP; an application that waits for the rest of the body is disconnected."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(400, self.conn.refusal or msg)
        self._patient.close()

    def _answer(self, status: int, text: str) -> None:
        body = json.dumps({"detail": text}).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        parts = [h11.Data(data=body)] if self.conn.wants_body else []
        for event in (h11.Response(status_code=status, headers=headers), *parts, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
