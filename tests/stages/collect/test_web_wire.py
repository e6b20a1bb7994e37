"""The judging page's server over real sockets: malformed bodies, senders that go away, and slow connections."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support.raw_http import read_all

Server = Callable[..., Any]


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What the server logs as an error: nothing, whatever is sent to it."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


class Person:
    """Ann, by a client and over the wire."""

    def __init__(self, server: Any) -> None:
        self.server = server
        link = httpx.get(server.link("ann"))
        self.home, self.cookie = link.headers["location"], link.headers["set-cookie"].partition(";")[0]
        self.headers = {"Cookie": self.cookie, "Origin": server.address}

    def post(self, address: str, content: bytes) -> httpx.Response:
        url = self.server.address + self.home + address
        return httpx.post(url, content=content, headers=self.headers, verify=False)  # no certificates to read

    def raw(self, address: str, length: str) -> bytes:
        head = f"POST {self.home}{address} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n{length}"
        return (head + "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()) + "\r\n").encode()


MALFORMED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"wanted": NaN}',
    b'{"wanted": Infinity}',
    b'{"wanted": -Infinity}',
    b'{"wanted": 1e999}',
    b'{"wanted": 1.5}',
    b'{"wanted": "\\ud800"}',
    b'{"\\ud800": 1}',
    b'{"items": ["\\ud800"]}',
    b'{"items": NaN}',
    b'{"answers": [NaN]}',
    b'{"answers": [{"id": "aaaaaaaa", "response_ms": NaN}]}',
    b'{"answers": [{"id": "aaaaaaaa", "age_ms": 1e999}]}',
    b'{"answers": [{"id": "aaaaaaaa", "answer": "\\udc00"}]}',
    b'{"answers": [{"id": "aaaaaaaa", "response_ms": %s}]}' % (b"9" * 5000),
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"wanted": 1e5000}',
    b"9" * 5000,
    b'{"holding": ["%s"]}' % ("é" * 5000).encode(),
    b'{"wanted": true}',
    b'{"\\n\\u0000": 1}',
]


@pytest.mark.parametrize("address", ["next", "answers", "skip", "release"])
def test_every_body_is_validated_alike(place: Any, live: Server, logged: list[logging.LogRecord], address: str) -> None:
    server = live(place(count=4))
    ann = Person(server)
    for content in MALFORMED:
        reply = ann.post(address, content)
        assert reply.status_code == 422, (content[:60], reply.text)
        detail = reply.json()["detail"]
        assert detail.startswith("the request is malformed: ")
        assert len(detail) < 700
        assert detail.isprintable()
    assert logged == []
    assert server.desk.assignments.store.is_empty()


@pytest.mark.parametrize("address", ["next", "answers", "skip", "release"])
@pytest.mark.parametrize("length", ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"])
def test_who_goes_away_leaves_no_traceback(
    place: Any, live: Server, logged: list[logging.LogRecord], address: str, length: str
) -> None:
    server = live(place(count=4))
    ann = Person(server)
    for sent in (b"", b'5\r\n{"wan\r\n', b'{"wanted'):
        with server.connect() as connection:
            connection.sendall(ann.raw(address, length) + sent)
    with server.connect() as connection:  # and in the middle of an answer
        connection.sendall(ann.raw("next", "Content-Length: 2\r\n") + b"{}")
    assert ann.post("next", b'{"wanted": 1}').status_code == 200
    server.stop()
    assert logged == []


def test_a_body_that_does_not_come_in_is_ended(place: Any, live: Server) -> None:
    server = live(place(count=4), seconds=0.3)
    ann = Person(server)
    with server.connect() as connection:
        connection.sendall(ann.raw("answers", "Content-Length: 100\r\n") + b'{"answers"')
        raw = read_all(connection)
    assert raw.startswith(b"HTTP/1.1 408")
    assert b"collect.server.read_seconds" in raw


def test_beyond_the_most_the_slowest_is_closed(place: Any, live: Server) -> None:
    server = live(place(count=4), seconds=3600, most=3)
    held = [server.connect() for _ in range(3)]
    for connection in held:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    ann = Person(server)
    assert read_all(held[0]) == b""
    assert ann.post("next", b"{}").status_code == 200
    for connection in held:
        connection.close()


def test_tiny_chunks_are_refused(place: Any, live: Server, logged: list[logging.LogRecord]) -> None:
    server = live(place(count=4))
    ann = Person(server)
    with server.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(ann.raw("answers", "Transfer-Encoding: chunked\r\n") + b"1\r\n \r\n" * 50_000)
        raw = read_all(connection)
    assert raw.startswith(b"HTTP/1.1 400")
    assert "too many small chunks" in json.loads(raw.partition(b"\r\n\r\n")[2])["detail"]
    assert logged == []


def test_an_upgrade_is_no_way_around_the_guard(place: Any, live: Server, logged: list[logging.LogRecord]) -> None:
    server = live(place(count=4))
    upgrade = {
        "Connection": "Upgrade, close",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x" * 22,
    }
    for headers, status in ((upgrade, 404), (upgrade | {"Host": "evil.example"}, 421)):
        assert httpx.get(f"{server.address}/", headers=headers).status_code == status
    assert logged == []


def test_parts_of_files_are_not_served(place: Any, live: Server) -> None:
    server = live(place(count=4))
    ann = Person(server)
    for wanted in ("bytes=0-1", "bytes=5-1", "bytes=x", "bytes=" + "0-1," * 1000):
        headers = ann.headers | {"Range": wanted}
        reply = httpx.get(f"{server.address}{ann.home}static/judge.js", headers=headers)
        assert (reply.status_code, len(reply.content) > 1000) == (200, True)
