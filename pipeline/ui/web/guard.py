"""Checks of every request before the application: host, origin and size; and the security headers of every response."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.hosts import ANY, host_of_header

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_LENGTH_DIGITS = 20  # of a Content-Length; Python refuses to read thousands of digits
RANGE_HEADERS = (b"range", b"if-range")  # removed: partial responses are not needed

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class TooLarge(Exception):
    """A body larger than the rules allow."""


@dataclass(frozen=True)
class Rules:
    """The rules of a guard.

    Attributes:
        hosts: accepted Host headers, without port, since a forwarded port may differ. This prevents DNS rebinding, where
            a foreign name resolves to this machine. `*` accepts any name, but not a missing or malformed header.
        setting: the key of the configuration for more hosts, for messages.
        max_body: maximum size of a request, in bytes.
        origin_needed: refuse requests other than GET and HEAD without an Origin, which browsers send. If False, only a
            foreign origin is refused, since other programs send none.
        local_pictures: allow pictures that the page creates itself (`blob:`).
    """

    hosts: frozenset[str]
    setting: str
    max_body: int
    origin_needed: bool = True
    local_pictures: bool = False

    @property
    def headers(self) -> dict[str, str]:
        if not self.local_pictures:
            return HEADERS
        policy = HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' blob:")
        return HEADERS | {"Content-Security-Policy": policy}

    @property
    def too_large(self) -> str:
        size = f"{self.max_body} bytes" if self.max_body < 2**20 else f"{self.max_body / 2**20:g} MiB"
        return f"the request is too large; send at most {size}"


def accepted_hosts(host: str, allowed: Iterable[str]) -> frozenset[str]:
    """Accepted Host headers of a server on `host`: local names, its own name, and those of the configuration."""
    return frozenset(name.lower() for name in {*LOCAL_HOSTS, host, *allowed})


class Guard:
    """ASGI middleware. Another site can make the browser send requests here, but cannot forge the Host and Origin headers."""

    def __init__(self, app: App, rules: Rules) -> None:
        self.app, self.rules = app, rules
        self._headers = [(name.lower().encode(), value.encode()) for name, value in rules.headers.items()]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if problem := self._refusal(scope, _Headers(scope["headers"])):
            await self._answer(send, *problem)
            return
        scope["headers"] = [header for header in scope["headers"] if header[0].lower() not in RANGE_HEADERS]
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.rules.max_body:
                raise TooLarge
            return message

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if received > self.rules.max_body:  # the application answered that the cut body is malformed
                    message["status"] = 413
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        try:
            await self.app(scope, limited, with_headers)
        except TooLarge:
            if not started:
                await self._answer(send, 413, self.rules.too_large)

    def _refusal(self, scope: MutableMapping[str, Any], headers: _Headers) -> tuple[int, str] | None:
        host = headers.single("host")
        name = None if host is None else host_of_header(host)
        if host is None or name is None:
            return 400, "the Host header is missing or malformed; send it once, as a name and at most a port"
        if ANY not in self.rules.hosts and name not in self.rules.hosts:
            return 421, f"this host name is not accepted; add it to {self.rules.setting}"
        if scope["method"] not in ("GET", "HEAD"):
            origins = headers.all("origin")
            own = len(origins) == 1 and origins[0].lower() == f"{scope['scheme']}://{host}".lower()
            if not own and (origins or self.rules.origin_needed):
                return 403, "the request comes from another site's page"
        return self._wrong_length(headers.all("content-length"), bool(headers.all("transfer-encoding")))

    def _wrong_length(self, lengths: list[str], chunked: bool) -> tuple[int, str] | None:
        """Refuse ambiguous lengths: a proxy and this server could interpret them differently (request smuggling)."""
        if len(lengths) > 1 or (lengths and (chunked or not (lengths[0].isascii() and lengths[0].isdecimal()))):
            return (
                400,
                "the body's length is malformed; send one Content-Length, or none with Transfer-Encoding: chunked",
            )
        if lengths and (len(lengths[0]) > MAX_LENGTH_DIGITS or int(lengths[0]) > self.rules.max_body):
            return 413, self.rules.too_large
        return None

    async def _answer(self, send: Send, status: int, text: str) -> None:
        body = json.dumps({"detail": text}).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *self._headers]})
        await send({"type": "http.response.body", "body": body})


class _Headers:
    """A request's headers by name, each as often as it was sent."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def single(self, name: str) -> str | None:
        """The value of a header that was sent exactly once."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None
