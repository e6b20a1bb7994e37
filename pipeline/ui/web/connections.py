"""Connections that must send a whole request in time, and may read the answer to one that was refused.

uvicorn waits for ever for the end of a request's headers, and closes a connection that is still sending at once, so
that the system resets it and the answer is lost. `Connection` fixes both, over TLS as well.
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

ACCEPTED_AT_ONCE = 128  # connections that the system may have ready; uvicorn's `backlog`
OWN_FILES = 64  # that a server opens beside its connections: images, stores, workers
FEWEST = 32  # connections, however few files the system allows


class Held(Protocol):
    """A connection that may be closed to make room."""

    def drop(self) -> None:
        """Close it at once."""


@dataclass
class Patience:
    """How long and how many connections are waited for, and which are just now.

    Attributes:
        seconds: within which a request's headers must have come in; its body has as long again.
        most: connections held at once; beyond it the one that has been sending its request longest is closed, or else
            one that does not read its answer. Lowered to what the process's limit of open files leaves.
        on_closed: told of each connection that was closed because it was slow.
        tls: what connections are encrypted with; None for plain HTTP.
        reading: connections whose request, or TLS handshake, has not come in yet, the oldest first.
        writing: connections whose answer is not taken, the oldest first.
    """

    seconds: float
    most: int
    on_closed: Callable[[], None] = lambda: None
    tls: ssl.SSLContext | None = None
    reading: dict[Held, None] = field(default_factory=dict)
    writing: dict[Held, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.most = min(self.most, _connections_possible())

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's `http`: it makes a protocol of this class for each connection."""
        plain = type("PatientConnection", (Connection,), {"patience": self})
        if self.tls is None:
            return plain
        return type("PatientHandshake", (Handshake,), {"patience": self, "connection": plain, "context": self.tls})

    def admits(self, newcomer: Held, held: int) -> bool:
        """Make room if there are too many, the newcomer among the `held`; whether it may stay."""
        if held <= self.most:
            return True
        slowest = next(iter(self.reading), None) or next(iter(self.writing), None) or newcomer
        self.on_closed()
        slowest.drop()
        return slowest is not newcomer


def _connections_possible() -> int:
    """Connections that this process may hold by its limit of open files, while as many again as are accepted at once wait
    to be closed."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    folder = Path("/dev/fd")
    there = len(list(folder.iterdir())) if folder.is_dir() else OWN_FILES
    return max(FEWEST, soft - there - OWN_FILES - 2 * ACCEPTED_AT_ONCE)


class Connection(H11Protocol):
    """uvicorn's protocol with a deadline for each request, strict HTTP, and a lingering close."""

    patience: Patience

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn: StrictHttp = StrictHttp(
            self.config.h11_max_incomplete_event_size or DEFAULT_MAX_INCOMPLETE_EVENT_SIZE
        )
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        patience = self.patience
        self._patient = PatientTransport(
            transport,
            self.loop,
            lambda: self.conn.their_state in (h11.SEND_BODY, h11.ERROR),
            patience.seconds,
            patience.on_closed,
        )
        super().connection_made(self._patient)  # type: ignore[arg-type]
        if patience.admits(self, len(self.connections)):
            self._start_reading(patience.seconds)

    def data_received(self, data: bytes) -> None:
        if self._patient.discards(data):
            return
        if self._deadline is None:
            self._start_reading(self.patience.seconds)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self.patience.writing.pop(self, None)
        self._patient.over()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.writing[self] = None
        self._patient.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.patience.writing.pop(self, None)
        self._patient.unwatch()

    def drop(self) -> None:
        """Close at once, to make room."""
        self._stop_reading()
        self.patience.writing.pop(self, None)
        self.connections.discard(self)
        self._patient.abort()

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
        if self.sending and not self.cycle.response_complete and not self._patient.is_closing():
            # The application has a deadline for bodies and answers by itself; one that does not is disconnected.
            self._deadline = self.loop.call_later(self.patience.seconds, self._patient.cut)
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer(408, f"the request did not come in within {self.patience.seconds:g} seconds")
        self._patient.cut()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; an application that waits for the rest of it is told that there is none."""
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
