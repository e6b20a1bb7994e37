"""Slow, endless and too many connections, over real sockets. What ends a wait is a close or an answer, never a clock."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.raw_http import read_all, request

Server = Callable[..., Any]


def answer(raw: bytes) -> tuple[int, Any]:
    """Status and JSON of an answer as it came over the wire."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


SLOW = {
    "silent": b"",
    "half a request line": b"POST /pre",
    "half a header": b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Ty",
    "half a body": request(b"half", length=1000),
    "a body nobody reads": request(b"half", length=1000, path="/nowhere"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_request_is_ended(live: Server, kind: str) -> None:
    server = live(read_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(SLOW[kind])
        raw = read_all(connection)
    if kind == "silent":
        assert raw == b""
    elif kind == "a body nobody reads":
        assert answer(raw)[0] == 404
    else:
        status, said = answer(raw)
        assert status == 408
        assert "0.2 seconds" in said["detail"]
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_slow_connections_keep_nobody_out(live: Server, picture: Callable[..., bytes]) -> None:
    """More of them than images may wait: none holds a place."""
    server = live(read_seconds=3600, queue=4, max_images=4)
    held = []
    for number in range(60):
        held.append(server.connect())
        held[-1].sendall(list(SLOW.values())[number % len(SLOW)])
    for number in range(3):
        reply = httpx.post(f"{server.address}/predict", content=picture(number), headers={"Content-Type": "image/png"})
        assert reply.status_code == 200
    assert len(server.patience.reading) == 60
    for connection in held:
        connection.close()


def test_beyond_the_most_the_slowest_is_closed(live: Server) -> None:
    server = live(read_seconds=3600, connections=3)
    first, second, third = (server.connect() for _ in range(3))
    for connection in (first, second, third):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert httpx.get(f"{server.address}/healthz").status_code == 200
    assert read_all(first) == b"", "the one that has been sending longest made room"
    second.sendall(b"Connection: close\r\n\r\n")
    assert answer(read_all(second))[0] == 200
    for connection in (first, second, third):
        connection.close()


def test_a_connection_is_used_again(live: Server, picture: Callable[..., bytes]) -> None:
    """The deadline is each request's own: it does not run while the server computes, or between two requests."""
    server = live()
    with httpx.Client(base_url=server.address) as client:
        for number in range(3):
            reply = client.post("/predict", content=picture(number), headers={"Content-Type": "image/png"})
            assert reply.status_code == 200
            assert server.patience.reading == {}
        assert len(server.server.server_state.connections) == 1


def test_who_sends_too_much_reads_why(live: Server) -> None:
    """A sender that does not read until it has sent all: closing at once would reset it, and the answer be lost."""
    server = live(max_megabytes=1)
    body = bytes(3 * 2**20)
    with server.connect() as connection:
        connection.sendall(request(body))
        status, said = answer(read_all(connection))
    assert (status, said["detail"]) == (413, "the request is too large; send at most 1 MiB")


def test_an_endless_body_is_stopped_early(live: Server) -> None:
    server = live(max_megabytes=1)
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    sent = 0
    with server.connect() as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(request().replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        while sent < 2**30:
            connection.sendall(chunk)
            sent += len(chunk)
    assert sent < 64 * 2**20, "a gigabyte was on its way"
    assert server.state.engine._bytes == 0
    assert httpx.get(f"{server.address}/healthz").status_code == 200


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET /" + b"a" * 200_000, b"\r\n" * 1000 + b"x y z\r\n\r\n"]
)
def test_rubbish_is_refused(live: Server, rubbish: bytes) -> None:
    server = live()
    raw = b""
    with server.connect() as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(rubbish)
        connection.shutdown(socket.SHUT_WR)
        raw = read_all(connection)
    assert raw == b"" or raw.startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_a_sender_that_goes_away_leaves_nothing(live: Server, picture: Callable[..., bytes]) -> None:
    server = live()
    with server.connect() as connection:
        connection.sendall(request(b"half", length=1000, more="Expect: 100-continue\r\n"))
        assert b"100" in connection.recv(1000)
    reply = httpx.post(f"{server.address}/predict", content=picture(), headers={"Content-Type": "image/png"})
    assert reply.status_code == 200
    server.stop()
    assert (server.state.engine._images, server.state.engine._bytes) == (0, 0)
