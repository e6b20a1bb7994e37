"""One image file to RGB pixels, or a reason why not.

Every format is brought to what a person would see: EXIF rotation applied, CMYK and palettes converted, transparency
laid over white, 16 bits a channel scaled (not clipped) to 8, the first frame of an animation.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


class BadImage(Exception):
    """Why a file cannot be used, in a few words for images.csv."""


class TooManyPixels(BadImage):
    """An image with more pixels than `limit`; `size` says how many in words."""

    def __init__(self, size: str, limit: int, than: str = "") -> None:
        super().__init__(f"too large: {size}{than}")
        self.size, self.limit = size, limit


def _sixteen_bit_to_l(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits to 8 by their high byte: Pillow's own conversion clips everything above 255 to white."""
    grey = np.asarray(image).astype(np.int64)
    return Image.fromarray((np.clip(grey, 0, 65535) >> 8).astype(np.uint8), mode="L")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, upright."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _sixteen_bit_to_l(image)
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """The RGB image in a file's bytes.

    The header's size is checked before any pixel is decoded, so that a decompression bomb costs nothing.

    Raises:
        TooManyPixels: larger than `max_pixels`.
        BadImage: empty, not an image, truncated or otherwise unreadable.
    """
    if not data:
        raise BadImage("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken EXIF blocks and oversized headers warn; we judge both ourselves
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    than = f", more than images.max_pixels = {max_pixels}"
                    raise TooManyPixels(f"{width} x {height} pixels", max_pixels, than)
                image.seek(0)
                image.load()
                return to_rgb(image)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image, or a format that is not supported") from None
    except Image.DecompressionBombError:
        raise TooManyPixels("more pixels than Pillow takes for a sane image", max_pixels) from None
    except Exception as error:  # a damaged file may raise nearly anything: OSError, SyntaxError, struct.error, ...
        raise BadImage(f"unreadable: {str(error) or type(error).__name__}") from error
