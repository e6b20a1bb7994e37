"""Decode an image file to RGB pixels, or report why it cannot be used.

EXIF rotation is applied, CMYK and palettes are converted, transparency is composed over white, 16 bits per channel are
scaled to 8, and of an animation the first frame is used. The header is checked before memory is allocated. Decoding
processes import this module; it imports neither torch nor NumPy, so that they start in less than 0.1 s.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from pipeline.data.decode_limits import BAND_PIXELS, MAX_SCANS, MAX_SIDE, MAX_TILE_BYTES_PER_PIXEL

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

_TILE_WIDTH, _TILE_LENGTH, _ROWS_PER_STRIP, _SAMPLES, _BITS, _COMPRESSION = 322, 323, 278, 277, 258, 259  # TIFF tags
_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324
_JPEG_IN_TIFF = (6, 7)  # values of the compression tag
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


GONE = "unreadable: it is no longer there"


class BadImage(Exception):
    """A file cannot be used; the message is a short reason for images.csv."""


class TooManyPixels(BadImage):
    """An image with more pixels than `limit`; `size` is its size in words."""

    def __init__(self, size: str, limit: int, than: str = "") -> None:
        super().__init__(f"too large: {size}{than}")
        self.size, self.limit = size, limit


class TooCostly(BadImage):
    """An image whose decoding exceeds the memory limit or ended its process; it may succeed with other limits."""


class TooSlow(TooCostly):
    """An image whose decoding exceeds the limit of processor time."""


def read_file(path: Path, max_bytes: int, setting: str = "images.max_megabytes") -> bytes:
    """A regular file's bytes.

    Args:
        max_bytes: a larger file is not read.
        setting: the key of the configuration that sets the limit, for the message.

    Raises:
        BadImage: not a regular file (a pipe or device could block), unreadable, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file")
            if status.st_size <= max_bytes:
                data = file.read(max_bytes + 1)  # it may have grown meanwhile
                if len(data) <= max_bytes:
                    return data
            size = max(status.st_size, max_bytes + 1)
    except OSError as error:
        raise BadImage(f"unreadable: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise BadImage(f"unreadable: {error}") from error
    raise BadImage(f"too large: {size / 2**20:.0f} MiB, more than {setting} = {max_bytes / 2**20:g}")


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """The RGB image in a file's bytes.

    Raises:
        TooManyPixels: larger than `max_pixels`.
        BadImage: empty, not an image, truncated, built to be slow, or otherwise unreadable.
    """
    with open_checked(data, max_pixels) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.load()
            return to_rgb(image)
        except Exception as error:  # a damaged file may raise nearly anything: OSError, SyntaxError, struct.error, ...
            raise _unreadable(error) from error


def open_checked(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open an image at its first frame and check its header; no pixel is decoded yet.

    Raises:
        BadImage: as `decode`, if the header shows it.
    """
    if not data:
        raise BadImage("empty file")
    if _is_webp(data) and (
        size := _webp_size(data)
    ):  # Pillow allocates an animation's frame before it reports the size
        _check_size(*size, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken EXIF blocks and oversized headers warn; both are checked here
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(*image.size, max_pixels)
            if image.format == "TIFF":
                _check_tiles(image, max_pixels)
            if (scans := count_scans(image, data)) > MAX_SCANS:
                raise BadImage(f"built to be slow: {scans} JPEG scans, more than {MAX_SCANS}")
            image.seek(0)
        except BadImage:
            raise
        except UnidentifiedImageError:
            raise BadImage("not an image, or a format that is not supported") from None
        except Image.DecompressionBombError:
            raise TooManyPixels("more pixels than Pillow accepts", max_pixels) from None
        except Exception as error:
            raise _unreadable(error) from error
    return image


def count_scans(image: ImageFile.ImageFile, data: bytes) -> int:
    """Number of passes over the pixels: start-of-scan markers of JPEG data, also within a TIFF; otherwise 1."""
    parts = 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.get(_COMPRESSION) not in _JPEG_IN_TIFF:
            return 1
        offsets = image.tag_v2.get(_TILE_OFFSETS) or image.tag_v2.get(_STRIP_OFFSETS)
        parts = len(offsets) if isinstance(offsets, tuple) else 1  # each a JPEG of its own
    elif image.format not in ("JPEG", "MPO"):
        return 1
    return max(1, -(-data.count(b"\xff\xda") // parts))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, upright."""
    orientation = image.getexif().get(_ORIENTATION)
    image = _converted(image)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _unreadable(error: Exception) -> BadImage:
    if isinstance(error, BadImage):
        return error
    if isinstance(error, MemoryError):
        return TooCostly("decoding exceeds the memory limit")
    return BadImage(f"unreadable: {str(error) or type(error).__name__}")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    size = f"{width} x {height} pixels"
    if width * height > max_pixels:
        raise TooManyPixels(size, max_pixels, f", more than images.max_pixels = {max_pixels}")
    if max(width, height) > MAX_SIDE:
        raise BadImage(f"too large: {size}, a side longer than {MAX_SIDE}")


def _check_tiles(image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Check the size of a TIFF's tiles or strips: each is a buffer that does not depend on the image's size."""
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    width, length = tags.get(_TILE_WIDTH), tags.get(_TILE_LENGTH)
    if width is None or length is None:
        width, length = image.width, min(_int_or(tags.get(_ROWS_PER_STRIP), image.height), image.height)
    bits = tags.get(_BITS, (8,))
    widest = max(_int_or(b, 8) for b in (bits if isinstance(bits, tuple) else (bits,)))
    size = _int_or(width, 0) * _int_or(length, 0) * max(1, _int_or(tags.get(_SAMPLES), 1)) * max(1, widest // 8)
    if size > MAX_TILE_BYTES_PER_PIXEL * max_pixels:
        raise BadImage(f"too large: a tile of {width} x {length} pixels")


def _int_or(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in a WebP's header (developers.google.com/speed/webp/docs/riff_container); None if it is malformed."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


def _converted(image: Image.Image) -> Image.Image:
    """To RGB, band by band."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.convert("RGB")
    converted = Image.new("RGB", image.size)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        converted.paste(_band_to_rgb(band), (0, top))
    return converted


def _band_to_rgb(band: Image.Image) -> Image.Image:
    if band.mode.startswith("I"):
        band = _sixteen_bit_to_l(band)
    if band.has_transparency_data:
        return _over_white(band)
    return band.convert("RGB")


def _sixteen_bit_to_l(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits to 8 bits by their high byte, since Pillow's conversion clips values above 255."""
    return image.convert("I").point(lambda level: level * (1 / 256)).convert("L")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
