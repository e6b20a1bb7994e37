"""What is sent to the server to take it down, for tests and the load test."""

from __future__ import annotations

import struct
import zlib


def bomb(side: int = 50_000) -> bytes:
    """A PNG whose header claims side x side pixels; its few bytes would decode to 2.5 GB of black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
