"""What is sent to the server to take it down, for tests and the load test."""

from __future__ import annotations

import socket
import struct
import zlib


def bomb(side: int = 50_000) -> bytes:
    """A PNG whose header claims side x side pixels; its few bytes would decode to 2.5 GB of black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def request(body: bytes = b"", length: int | None = None, path: str = "/predict", more: str = "") -> bytes:
    """A POST as it goes over the wire; `length` is what it announces, if that is not the body's."""
    announced = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {announced}\r\n{more}\r\n"
    return head.encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
