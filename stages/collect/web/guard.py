"""What every request must pass before the application sees it: host, origin, size. And what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024  # a hundred answers are a tenth of that

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
    """A body beyond `MAX_BODY` bytes."""


class Guard:
    """ASGI middleware. A page on another site can make this browser send requests here; it cannot forge these headers.

    Args:
        hosts: names the page may be asked for by, without port: a forwarded port has another number at the other end.
            This stops DNS rebinding, by which a foreign name comes to mean this machine.
    """

    def __init__(self, app: App, hosts: set[str]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self._refusal(scope, headers):
            await _answer(send, *problem)
            return
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                raise TooLarge
            return message

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if received > MAX_BODY:  # the application took the broken-off body for a malformed one
                    message["status"] = 413
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            await self.app(scope, limited, dressed)
        except TooLarge:
            if not started:
                await _answer(send, 413, f"a request may have {MAX_BODY} bytes")

    def _refusal(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if (urlsplit(f"//{host}").hostname or "").lower() not in self.hosts:
            return 421, "this host name is not one of the page's; name it in collect.server.allowed_hosts"
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is None or origin.lower() != f"{scope['scheme']}://{host}".lower():
                return 403, "the request comes from another page"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f"a request may have {MAX_BODY} bytes"
        return None


async def _answer(send: Send, status: int, text: str) -> None:
    headers = {**HEADERS, "Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": text.encode()})
