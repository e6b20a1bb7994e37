"""What every request must pass before an application sees it: host, origin, size. And what every answer carries."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"

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
    """A body beyond what the rules allow."""


@dataclass(frozen=True)
class Rules:
    """What a guard lets through.

    Attributes:
        hosts: names the page may be asked for by, without port: a forwarded port has another number at the other end.
            This stops DNS rebinding, by which a foreign name comes to mean this machine. `*` is any name.
        setting: the key of the configuration that lists more of them, for messages.
        max_body: bytes a request may have.
        origin_needed: refuse what changes something unless it says where it comes from, as browsers do. Without, only
            a foreign origin is refused: programs that use an interface send none.
        local_pictures: let the page show pictures that it made itself (`blob:`).
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
        return f"a request may have {size}"


def known_hosts(host: str, allowed: Iterable[str]) -> frozenset[str]:
    """Names a server on `host` answers to: the local ones, its own, and those that the configuration allows."""
    return frozenset(name.lower() for name in {*LOCAL, host, *allowed})


class Guard:
    """ASGI middleware. A page on another site can make this browser send requests here; it cannot forge these headers."""

    def __init__(self, app: App, rules: Rules) -> None:
        self.app, self.rules = app, rules
        self._headers = [(name.lower().encode(), value.encode()) for name, value in rules.headers.items()]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self._refusal(scope, headers):
            await self._answer(send, *problem)
            return
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.rules.max_body:
                raise TooLarge
            return message

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if received > self.rules.max_body:  # the application took the broken-off body for a malformed one
                    message["status"] = 413
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        try:
            await self.app(scope, limited, dressed)
        except TooLarge:
            if not started:
                await self._answer(send, 413, self.rules.too_large)

    def _refusal(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if ANY not in self.rules.hosts and _name(host) not in self.rules.hosts:
            return 421, f"this host name is not one of the page's; name it in {self.rules.setting}"
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            own = origin is not None and origin.lower() == f"{scope['scheme']}://{host}".lower()
            if not own and (origin is not None or self.rules.origin_needed):
                return 403, "the request comes from another page"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.rules.max_body:
            return 413, self.rules.too_large
        return None

    async def _answer(self, send: Send, status: int, text: str) -> None:
        headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *self._headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"detail": text}).encode()})


def _name(host: str) -> str:
    """The name in a Host header, without its port; nothing if the header is malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:  # an IPv6 address without its closing bracket
        return ""
