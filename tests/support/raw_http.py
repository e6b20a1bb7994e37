"""Requests as they go over the wire, for tests of servers."""

from __future__ import annotations

import socket


def request(body: bytes = b"", length: int | None = None, path: str = "/predict", more: str = "") -> bytes:
    """A POST as it goes over the wire; `length` is what it announces, if that is not the body's."""
    announced = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {announced}\r\n{more}\r\n"
    return head.encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
