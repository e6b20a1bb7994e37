"""HTTP as both servers parse it: how much of a hostile request is parsed before it is refused."""

from __future__ import annotations

import contextlib

import h11
import pytest

from pipeline.ui.web.http_rules import FREE_CHUNKS, MIN_CHUNK, StrictHttp

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
AT_ONCE = 256 * 1024  # bytes that asyncio reads before others have their turn


def events(http: StrictHttp) -> list[h11.Event]:
    found = []
    while (event := http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        found.append(event)
    return found


def refused_after(http: StrictHttp) -> int:
    """Number of events before the refusal."""
    parsed = 0
    while not http.refusal:
        with contextlib.suppress(h11.RemoteProtocolError):
            assert http.next_event() is not h11.NEED_DATA
            parsed += 1
    assert http.refusal.startswith("the body comes in too many small chunks")
    return parsed


def test_few_tiny_chunks_are_parsed_at_once() -> None:
    """A server does nothing else meanwhile: 43,690 chunks of one read kept everybody waiting for half a second."""
    http = StrictHttp(65536)
    http.receive_data(HEAD + b"1\r\nx\r\n" * (AT_ONCE // 6))
    assert refused_after(http) == 1 + FREE_CHUNKS


def test_the_mean_of_all_chunks_counts() -> None:
    http = StrictHttp(65536)
    large, small = b"%x\r\n%s\r\n" % (10 * MIN_CHUNK, bytes(10 * MIN_CHUNK)), b"1\r\nx\r\n"
    http.receive_data(HEAD + large * FREE_CHUNKS + small * (10 * FREE_CHUNKS))
    assert len(events(http)) == 1 + 11 * FREE_CHUNKS
    http.receive_data(small * 100)
    assert refused_after(http) < 10


def test_each_request_starts_anew() -> None:
    http = StrictHttp(65536)
    for _ in range(5):
        http.receive_data(HEAD + b"1\r\nx\r\n" * FREE_CHUNKS + b"0\r\n\r\n")
        assert isinstance(events(http)[-1], h11.EndOfMessage)
        http.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        http.send(h11.EndOfMessage())
        http.start_next_cycle()


def test_a_body_of_known_length_has_no_chunks() -> None:
    http, data = StrictHttp(65536), b""
    http.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(5000):
        http.receive_data(b"x")
        data += b"".join(event.data for event in events(http) if isinstance(event, h11.Data))
    assert len(data) == 5000


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_length_that_is_said_twice_is_refused_however_lines_end(end: bytes) -> None:
    http = StrictHttp(65536)
    head = [b"POST / HTTP/1.1", b"Host: x", b"Content-Length: 1", b"CONTENT-LENGTH: 1", b"", b""]
    for byte in end.join(head)[:-1]:
        http.receive_data(bytes([byte]))
        assert http.next_event() is h11.NEED_DATA
    http.receive_data(b"\n")
    with pytest.raises(h11.RemoteProtocolError, match="repeated"):
        http.next_event()


def test_a_body_may_say_what_it_likes() -> None:
    http = StrictHttp(65536)
    body = b"\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
    http.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert [type(event) for event in events(http)] == [h11.Request, h11.Data, h11.EndOfMessage]
