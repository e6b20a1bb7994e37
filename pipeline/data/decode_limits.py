"""All limits of decoding an image: what a file may claim, and the memory and time that decoding it may take.

Three more are settings: `images.max_pixels`, `images.max_megabytes` and `runtime.decode_seconds` (for the server
`serve.max_pixels`, `serve.max_megabytes` and `serve.decode_seconds`). No torch here: decoding processes import this.
"""

from __future__ import annotations

from dataclasses import dataclass

# What a file may claim. It is checked in its header, before any pixel is decoded (decode.py).
MAX_SIDE = 65_535  # the most that JPEG and GIF can have; a longer side is no picture, and costs a pointer per row
MAX_SCANS = 100  # of a JPEG; a progressive photograph has about ten, and each one costs a pass over all pixels
MAX_TILE_BYTES_PER_PIXEL = 8  # a TIFF tile or strip may take up to this many bytes per pixel of `max_pixels`
MAX_ASPECT = 16  # of an image that is scaled whole; a longer one is cropped first (resize.py)

# Memory.
BAND_PIXELS = 2**20  # converted at a time, so that a conversion needs no second copy of the whole image
BYTES_PER_PIXEL = 22  # at most, measured over all formats: a WebP with transparency and a rotation takes most
SLACK_BYTES = 32 * 2**20  # of an image besides pixels and file: metadata, and what an allocator keeps
START_BYTES = 64 * 2**20  # of a decoding process before its first image

# Time.
DECODE_SECONDS = 30.0  # of processor time for one image, where no setting says otherwise
QUICK_SECONDS = 1.0  # of processor time, after which a server treats an image as slow
QUICK_COST = 10_000_000  # pixels times scans: about 0.2 s; an image that costs more is slow from the start
WALL_FACTOR, WALL_MORE = 10, 30.0  # how long a process may take by the clock: so many times its limit, and so much more
JOIN_SECONDS = 5.0  # a killed process ends at once, unless the system is stuck


@dataclass(frozen=True)
class Limits:
    """What one image may take: pixels of the file's header, seconds of processor time to decode it."""

    pixels: int
    seconds: float

    def memory(self, data: int) -> int:
        """Bytes that decoding a file of `data` bytes may take, besides the file itself."""
        return self.pixels * BYTES_PER_PIXEL + 2 * data + SLACK_BYTES

    def process_memory(self, data: int) -> int:
        """Bytes that a decoding process may take in all."""
        return START_BYTES + data + self.memory(data)
