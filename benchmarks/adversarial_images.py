"""Adversarial image files: small on disk, but large or slow to decode, or malformed."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

from PIL import Image


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few kilobytes whose header claims side x side pixels."""

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def largest(side: int = 5000) -> bytes:
    """A PNG of 25 megapixels in a few kilobytes; transparency and rotation maximise the memory to decode it."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    return encode(Image.new("RGBA", (side, side), (1, 2, 3, 4)), "PNG", exif=exif, compress_level=1)


def wide_webp() -> bytes:
    """A WebP of 50 bytes whose header claims the maximum number of pixels of the format."""
    size = 16383 - 1
    data = b"\x2f" + struct.pack("<I", size | size << 14 | 1 << 28) + bytes(20)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def thin(height: int) -> bytes:
    """A PNG one pixel wide: a few hundred bytes, for any height."""

    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 0, 0, 0, 0))
    rows = _chunk(b"IDAT", zlib.compress(bytes(2 * height), 9))
    return b"\x89PNG\r\n\x1a\n" + header + rows + _chunk(b"IEND", b"")


def huge_tile(width: int = 65_520, length: int = 32_752) -> bytes:
    """A TIFF of 64 x 64 pixels in one deflated tile of the given size."""
    tile = zlib.compress(bytes(64 * 64))
    entries = [
        (256, 4, 64),
        (257, 4, 64),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, width),
        (323, 4, length),
        (324, 4, 8),
        (325, 4, len(tile)),
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value)  # little-endian: a short fills the first two bytes
    offset = 8 + len(tile)
    return b"II*\0" + struct.pack("<I", offset) + tile + directory + bytes(4)


@cache
def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG of one colour whose last scan is repeated; each scan costs a pass over all pixels."""
    data = encode(Image.new("RGB", (side, side), (120, 60, 30)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"
