"""TLS handshakes with a deadline, counted as connections from the moment they are accepted.

asyncio's own TLS reports a connection to the server only after the handshake: a client that does not complete it would be
held, uncounted, for a minute.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pipeline.ui.web.connections import Connection, ConnectionLimits


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The TLS context of a server: TLS 1.2 or newer.

    Raises:
        OSError: a file is missing or not PEM, or certificate and key do not match.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


class Handshake(asyncio.Protocol):
    """A connection during its handshake; afterwards `connection` replaces it."""

    limits: ConnectionLimits
    connection: type[Connection]
    context: ssl.SSLContext

    def __init__(self, **options: Any) -> None:
        self._connection = self.connection(**options)
        self._held = cast(set[Any], self._connection.connections)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._held.add(self)
        if self.limits.admits(self, len(self._held)):
            self.limits.reading[self] = None
            self._task = self._connection.loop.create_task(self._shake_hands())

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def drop(self) -> None:
        """Close immediately, to admit others."""
        self._leave()
        self._transport.abort()

    def shutdown(self) -> None:
        """Called by uvicorn on each connection when it stops."""
        self.drop()

    def _leave(self) -> None:
        self._held.discard(self)
        self.limits.reading.pop(self, None)

    async def _shake_hands(self) -> None:
        seconds, early = self.limits.seconds, _Early()
        try:
            encrypted = await self._connection.loop.start_tls(
                self._transport,
                early,
                self.context,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:  # no TLS, too slow, or closed: not worth a log line
            if not self._transport.is_closing():
                self._transport.abort()
            return
        finally:
            self._leave()
        if encrypted is not None:
            early.hand_over(encrypted, self._connection)


class _Early(asyncio.Protocol):
    """Buffers data between the end of the handshake and the switch to the connection."""

    def __init__(self) -> None:
        self._data, self._lost = bytearray(), False

    def data_received(self, data: bytes) -> None:
        self._data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def hand_over(self, transport: asyncio.Transport, connection: Connection) -> None:
        if self._lost:
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if self._data and not transport.is_closing():
            connection.data_received(bytes(self._data))
