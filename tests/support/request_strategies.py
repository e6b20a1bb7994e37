"""Random requests as they go over the wire, and what an answer must be, for fuzz tests of both servers."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
from hypothesis import strategies as st

WAIT = 10.0  # seconds that no answer may take longer
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X"]
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
HOSTS = [
    "127.0.0.1",
    "localhost",
    "localhost:99",
    "[::1]",
    "",
    "evil@localhost",
    "localhost:",
    "evil.example",
    "[::1",
    "a b",
    "é",
]
ODD_HEADERS = st.sampled_from(
    [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: 0",
        "Content-Length: 99999999999999999999",
        "Expect: 100-continue",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Range: bytes=0-1",
        "Range: bytes=" + "0-1," * 50,
        "If-Range: x",
        "Origin: null",
        "Origin: http://evil.example",
        "Host: evil.example",
        "Authorization: Bearer \xff",
        "Cookie: link=\xff; link",
        "Cookie: " + "a=b;" * 100,
        "Content-Type: multipart/form-data",
        "Content-Type: image/png; charset=undefined",
        "Accept-Encoding: x",
        "X-Forwarded-For: evil",
        " folded",
        "Bad Name: x",
        "X: \x00",
    ]
)
NUMBERS = [0, 1, -1, 50, 51, 10**12, 10**20, 10**400, 0.5, 1e308]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.text(max_size=8),
    st.sampled_from(["a", "b", "tie", "", "0" * 24]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ODD_JSON = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"\xff",
    b"[" * 300,
    b"",
    b"9" * 5000,
    b'"\\u0000"',
]


@dataclass(frozen=True)
class Sent:
    """A request: its head's lines without the first two, and its body, which may be cut off, chunked, or longer than said."""

    method: str = "POST"
    path: str = "/"
    host: str = "127.0.0.1"
    headers: list[str] = field(default_factory=list)
    body: bytes = b""
    chunk: int = 0  # bytes in a chunk; 0: with a length
    cut: int = 0  # bytes at the end that are not sent
    junk: bytes = b""  # sent after it

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {self.host}", "Connection: close", *self.headers]
        body = self.body
        if self.chunk:
            pieces = [body[start : start + self.chunk] for start in range(0, len(body), self.chunk)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            lines.append("Transfer-Encoding: chunked")
        elif body or self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body + self.junk
        return raw[: max(0, len(raw) - self.cut)]


@st.composite
def json_bodies(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> bytes:
    """A valid body, usually with something else in the place of one of its parts."""
    body = draw(valid)
    kind = draw(st.sampled_from(["valid", "valid", "value", "more", "odd", "bytes", "any"]))
    if kind == "any":
        body = draw(VALUES)
    if kind in ("value", "more") and isinstance(body, dict):
        holder = body
        entries = [
            part for value in body.values() if isinstance(value, list) for part in value if isinstance(part, dict)
        ]
        if entries and draw(st.booleans()):
            holder = draw(st.sampled_from(entries))
        name = draw(st.sampled_from(sorted(holder))) if holder and kind == "value" else draw(st.text(max_size=6))
        holder[name] = draw(VALUES)
    text = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if kind == "odd":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(ODD_JSON)) + text[at + draw(st.integers(0, 6)) :]
    if kind == "bytes":
        changed = bytearray(text)
        for _ in range(draw(st.integers(1, 3))):
            changed[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
        text = bytes(changed)
    return text


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Neither uvicorn nor asyncio logs an error or has one to log."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert [logging.Formatter().format(record) for record in records] == []


def exchange(server: Any, sent: Sent) -> list[tuple[int, dict[str, str], bytes]]:
    """Send it and read everything until the server ends: status, headers and body of each answer."""
    raw = b""
    with server.connect() as connection:
        connection.settimeout(WAIT)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(sent.raw())
            if sent.cut:  # a server need not answer who ends in the middle, and does not
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                raw += data
    return list(_answers(raw, sent.method))


def _answers(raw: bytes, method: str) -> Iterator[tuple[int, dict[str, str], bytes]]:
    """The answers in what came over the wire; h11 raises where they are no HTTP."""
    client = h11.Connection(h11.CLIENT)
    while raw:
        known = method if method.isupper() else "GET"
        client.send(h11.Request(method=known, target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        status, headers, body = 0, {}, b""
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), f"half an answer: {raw[:200]!r}"
        yield status, headers, body
        raw = client.trailing_data[0]
        client = h11.Connection(h11.CLIENT)


def check_answers(answers: list[tuple[int, dict[str, str], bytes]], documented: frozenset[int], method: str) -> None:
    """Each is one that is documented; a refusal says why in JSON, in one line."""
    for status, headers, body in answers:
        assert status in documented, (status, body[:500])
        if status >= 400 and method != "HEAD":
            assert headers["content-type"].startswith("application/json"), (status, headers)
            detail = json.loads(body)["detail"]
            assert isinstance(detail, str)
            assert detail
            assert "\n" not in detail
