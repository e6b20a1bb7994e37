"""Damaged image files of every format: pixels, or a reason; never another exception, much time or much memory."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.fuzzing import bounded, fuzz

from benchmarks.adversarial_images import encode, huge_tile, many_scans, thin
from pipeline.data.decode import BadImage, decode
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_pool import shared_decoders
from pipeline.data.resize import Transform

MAX_PIXELS = 4_000_000
TRANSFORM = Transform(32, 40)
LIMITS = Limits(MAX_PIXELS, 10.0)


def samples() -> dict[str, list[bytes]]:
    """Some files of each format, with whatever the format has: palettes, transparency, compression, frames, metadata."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    clear = rgb.convert("RGBA")
    clear.putalpha(128)
    grey16 = Image.fromarray(np.linspace(0, 65_535, 2240).reshape(40, 56).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "JPEG": [
            encode(rgb, "JPEG", exif=exif),
            encode(rgb, "JPEG", progressive=True),
            encode(rgb.convert("CMYK"), "JPEG"),
            encode(rgb.convert("L"), "JPEG"),
            many_scans(32, 20),
        ],
        "PNG": [
            encode(clear, "PNG", exif=exif),
            encode(rgb.convert("P"), "PNG", transparency=3),
            encode(grey16, "PNG"),
            encode(rgb.convert("1"), "PNG"),
            thin(500),
            encode(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)]),
        ],
        "WEBP": [
            encode(clear, "WEBP", exif=exif),
            encode(rgb, "WEBP", lossless=True),
            encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        ],
        "BMP": [encode(rgb, "BMP"), encode(rgb.convert("P"), "BMP"), encode(rgb.convert("1"), "BMP")],
        "GIF": [encode(rgb, "GIF"), encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)] * 3)],
        "TIFF": [
            encode(rgb, "TIFF", exif=exif),
            encode(clear, "TIFF", compression="tiff_lzw"),
            encode(grey16, "TIFF"),
            encode(rgb, "TIFF", compression="jpeg"),
            encode(rgb.convert("1"), "TIFF", compression="group4"),
            encode(rgb.convert("CMYK"), "TIFF", compression="tiff_deflate"),
            huge_tile(64, 64),
            encode(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(90)]),
        ],
    }


SAMPLES = samples()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "header", "cut", "insert", "remove"]),
        st.floats(0, 1),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[tuple[str, float, int]]) -> bytes:
    """A file with some of its bytes changed."""
    changed = bytearray(data)
    for kind, place, value in edits:
        at = min(int(place * len(changed)), max(0, len(changed) - 1))
        if kind == "flip" and changed:
            changed[at] ^= 1 << value % 8
        elif kind == "set":
            changed[at : at + 4] = value.to_bytes(4, "little")
        elif kind == "header":  # fields of sizes and offsets are near the beginning
            at = min(int(place * 64), max(0, len(changed) - 4))
            changed[at : at + 4] = value.to_bytes(4, "big" if value % 2 else "little")
        elif kind == "cut":
            del changed[at:]
        elif kind == "insert":
            changed[at:at] = value.to_bytes(4, "little") * (1 + value % 64)
        else:
            del changed[at : at + 1 + value % 64]
    return bytes(changed)


def look(data: bytes) -> None:
    """Decode here, within limits; and in a decoding process, with the same outcome."""
    here: np.ndarray | None = None
    with bounded():
        try:
            here = TRANSFORM(decode(data, MAX_PIXELS))
        except BadImage:
            here = None
    try:
        there = shared_decoders().pixels(data, TRANSFORM, LIMITS)
    except BadImage:
        assert here is None
    else:
        assert here is not None
        assert np.array_equal(here, there)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_the_samples_themselves_are_read(kind: str) -> None:
    for data in SAMPLES[kind]:
        assert decode(data, MAX_PIXELS).mode == "RGB"
        assert Image.open(io.BytesIO(data)).format in (kind, "MPO")


@pytest.mark.parametrize("kind", sorted(SAMPLES))
@fuzz
@given(st.data())
def test_damaged_files(kind: str, data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(SAMPLES[kind]))
    look(edited(sample, data.draw(EDITS)))


@fuzz
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    look(data)


@fuzz
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"GIF89a", b"II*\0", b"MM\0*"]),
    st.binary(max_size=300),
)
def test_any_bytes_after_a_signature(signature: bytes, data: bytes) -> None:
    look(signature + data)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_truncation(kind: str) -> None:
    for sample in SAMPLES[kind]:
        for length in {*range(0, len(sample), max(1, len(sample) // 40)), *range(min(64, len(sample)))}:
            with bounded(), contextlib.suppress(BadImage):
                decode(sample[:length], MAX_PIXELS)
