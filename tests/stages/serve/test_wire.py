"""What both servers' HTTP refuses, over real sockets; `collect` and `serve` share `pipeline.web`."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.raw_http import read_all, request
from support.request_strategies import nothing_logged

from pipeline.ui.web.http_rules import FREE_CHUNKS, MIN_CHUNK

Server = Callable[..., Any]
CHUNKED = request().replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


def chunks(data: bytes, size: int) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def answered(server: Any, *sent: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer to what is sent."""
    with server.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in sent:
                connection.sendall(piece)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 5"),
        (b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 6"),
        (b"Content-Length: 5", b"content-length : 5\r\nContent-Length: 5"),
        (b"Content-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding: gzip"),
        (b"Content-Length: 5", b"Content-Length: +5"),
        (b"Host: 127.0.0.1", b"Host: 127.0.0.1\r\nHost: evil.example"),
        (b"Host: 127.0.0.1", b"Host: evil@127.0.0.1"),
        (b"Host: 127.0.0.1", b"Host:"),
        (b"Host: 127.0.0.1\r\n", b""),
    ],
)
def test_what_two_servers_could_understand_differently_is_refused(live: Server, old: bytes, new: bytes) -> None:
    server = live(allowed_hosts=["*"])
    status, said = answered(server, request(b"12345").replace(old, new))
    assert status == 400
    assert said["detail"]
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_a_length_named_in_another_header_or_the_body_is_no_length(live: Server, picture: Callable[..., bytes]) -> None:
    data = picture()
    more = "X-Content-Length: 1\r\nX: Content-Length: 2\r\n"
    status, _ = answered(live(), request(data, more="Connection: close\r\n" + more))
    assert status == 200
    status, said = answered(live(), request(b"\nContent-Length: 1\n", more="Connection: close\r\n"))
    assert (status, "Content-Length" in said["detail"]) == (422, False)


FORM = b"--edge\r\nContent-Disposition: form-data; name=f; filename=%s\r\n\r\n%s\r\n"


def form(server: Any, body: bytes, more: str = "") -> tuple[int, dict[str, Any]]:
    sent = request(body, more="Connection: close\r\n")
    return answered(server, sent.replace(b"image/png", f"multipart/form-data; boundary=edge{more}".encode()))


def test_a_form_that_ends_in_the_middle_is_malformed(live: Server, picture: Callable[..., bytes]) -> None:
    """Whoever sends two images is not answered for one alone; and what came in is freed."""
    server, whole = live(), FORM % (b"a.png", picture())
    assert form(server, whole + b"--edge--\r\n")[0] == 200
    status, said = form(server, whole + FORM[:-2] % (b"b.png", b"half"))
    assert (status, said["detail"]) == (422, "malformed form: it ends in the middle of a file; send it completely")


@pytest.mark.parametrize(
    "charset", ["idna", "undefined", "punycode", "utf-7", "unicode_escape", "utf-16", "hex", "nobody's"]
)
def test_names_in_forms_are_utf8_whatever_the_sender_calls_them(
    live: Server, picture: Callable[..., bytes], charset: str
) -> None:
    """Some of Python's encodings raise errors of their own, or make names that no answer can hold."""
    server = live()
    for name in (b"+2AA-.png", b"\\ud800.png", b"\xff\xfe.png", b"x" * 300):
        status, said = form(server, FORM % (name, picture()) + b"--edge--\r\n", f"; charset={charset}")
        assert status == 200
        expected = name.decode("utf-8" if name.isascii() else "latin-1")[:200]
        assert said["predictions"][0]["name"] == expected


def test_chunks_of_a_fair_size_are_taken(live: Server, picture: Callable[..., bytes]) -> None:
    data, server = picture(size=(300, 200)), live()
    assert len(data) > 2 * FREE_CHUNKS * MIN_CHUNK
    for size in (MIN_CHUNK, 1000, 10**6):
        head = CHUNKED.replace(b"Content-Type", b"Connection: close\r\nContent-Type")
        assert answered(server, head, chunks(data, size))[0] == 200, size
    few = CHUNKED.replace(b"Content-Type", b"Connection: close\r\nContent-Type")
    assert answered(server, few, chunks(data[:FREE_CHUNKS], 1))[0] == 422, "a few may be small; it is no image"


@pytest.mark.parametrize("extension", [b"", b";" + b"x" * 4000])
def test_millions_of_tiny_chunks_keep_nobody_waiting(live: Server, extension: bytes) -> None:
    server = live()
    many = (b"1" + extension + b"\r\nx\r\n") * (2_000_000 if not extension else 10_000)
    status, said = answered(server, CHUNKED, many)
    assert status == 400
    assert said["detail"] == f"the body comes in too many small chunks; send {MIN_CHUNK} bytes or more in each"
    assert server.state.engine._bytes == 0


def test_a_body_that_turns_malformed_ends_the_request(live: Server) -> None:
    """The application waits for the rest of it, and is told at once that there is none."""
    server = live(read_seconds=3600)
    status, _ = answered(server, CHUNKED, b"5\r\nhello\r\nnot a length\r\n")
    assert status == 400
    server.stop()
    assert (server.state.engine._images, server.state.engine._bytes) == (0, 0)


@pytest.mark.parametrize("twice", [b"", b"Content-Length: 1\r\nContent-Length: 1\r\n"])
def test_a_malformed_request_for_a_head_is_answered_without_a_body(live: Server, twice: bytes) -> None:
    """An answer with one breaks HTTP's own rules, which ended the connection with a traceback."""
    server = live()
    head = b"HEAD /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (twice or b"Transfer-Encoding: chunked\r\n") + b"\r\n"
    with nothing_logged(), server.connect() as connection:
        connection.sendall(head + b"no length\r\n")
        raw = read_all(connection)
    assert raw.startswith(b"HTTP/1.1 400")
    assert raw.endswith(b"\r\n\r\n")


def test_who_never_reads_answers_is_closed(live: Server) -> None:
    """Answers pile up until the system takes no more of them."""
    server = live(read_seconds=0.3)
    ask = b"GET /static/serve.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
            connection.settimeout(1)
            for _ in range(2000):
                connection.sendall(ask)
        while server.server.server_state.connections:
            time.sleep(0.02)
    assert server.patience.writing == {}
    assert httpx.get(f"{server.address}/healthz").status_code == 200


@pytest.mark.long
def test_who_does_not_read_makes_room_for_others(live: Server) -> None:
    server = live(read_seconds=3600, connections=3)
    ask = b"GET /static/serve.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    held = []
    for number in range(3):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(4000):
                connection.send(ask)
        held.append(connection)
        while len(server.patience.writing) <= number:
            with contextlib.suppress(BlockingIOError):
                connection.send(ask)
            time.sleep(0.01)
    assert httpx.get(f"{server.address}/healthz", timeout=60).status_code == 200
    for connection in held:
        connection.close()
