"""Image files that are small on disk and large, slow or odd when they are opened."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def thin(height: int) -> bytes:
    """A PNG one pixel wide: a few hundred bytes, whatever its height."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(2 * height), 9))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


def huge_tile(width: int = 65_520, length: int = 32_752) -> bytes:
    """A TIFF of 64 x 64 pixels in one deflated tile of the given size."""
    tile = zlib.compress(bytes(64 * 64))
    entries = [
        (256, 4, 64), (257, 4, 64), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1), (322, 4, width),
        (323, 4, length), (324, 4, 8), (325, 4, len(tile)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value)  # little-endian: a short fills the first two bytes
    offset = 8 + len(tile)
    return b"II*\0" + struct.pack("<I", offset) + tile + directory + bytes(4)


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG of one colour whose last scan stands there so many times: each costs a pass over all pixels."""
    data = saved(Image.new("RGB", (side, side), (120, 60, 30)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"
