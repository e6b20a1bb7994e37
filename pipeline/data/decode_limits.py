"""All limits of decoding an image: on its header, and on the memory and time of decoding.

Three more are settings: `images.max_pixels`, `images.max_megabytes` and `runtime.decode_seconds` (for the server
`serve.max_pixels`, `serve.max_megabytes` and `serve.decode_seconds`). No torch here: decoding processes import this.
"""

from __future__ import annotations

from dataclasses import dataclass

# Checked in the header, before any pixel is decoded (decode.py).
MAX_SIDE = 65_535  # the maximum of JPEG and GIF; Pillow needs memory per row
MAX_SCANS = 100  # of a JPEG; a progressive photograph has about ten, and each is a pass over all pixels
MAX_TILE_BYTES_PER_PIXEL = 8  # a TIFF tile or strip may take up to this many bytes per pixel of `max_pixels`
MAX_ASPECT = 16  # a longer image is cropped before it is scaled (resize.py)

# Memory.
BAND_PIXELS = 2**20  # converted at a time, so that a conversion needs no second copy of the whole image
BYTES_PER_PIXEL = 22  # maximum over all formats, measured: a WebP with transparency and a rotation
SLACK_BYTES = 32 * 2**20  # per image, for metadata and the allocator
START_BYTES = 64 * 2**20  # of a decoding process before its first image

# Time.
DECODE_SECONDS = 30.0  # default processor time per image
QUICK_SECONDS = 1.0  # of processor time, after which a server treats an image as slow
QUICK_COST = 10_000_000  # pixels times scans: about 0.2 s; an image that costs more is slow from the start
WALL_FACTOR, WALL_EXTRA = 10, 30.0  # wall-clock limit: WALL_FACTOR * processor-time limit + WALL_EXTRA seconds
JOIN_SECONDS = 5.0  # a killed process ends immediately, unless the system hangs


@dataclass(frozen=True)
class Limits:
    """Limits of one image: pixels in its header, seconds of processor time to decode it."""

    pixels: int
    seconds: float

    def memory(self, data: int) -> int:
        """Bytes that decoding a file of `data` bytes may take, besides the file itself."""
        return self.pixels * BYTES_PER_PIXEL + 2 * data + SLACK_BYTES

    def process_memory(self, data: int) -> int:
        """Bytes that a decoding process may take in all."""
        return START_BYTES + data + self.memory(data)
