"""Images that are built to take memory or time: refused from the header, or ended by their limit; others never wait."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.fuzzing import bounded, peak_bytes, reset_peak

from benchmarks.adversarial_images import encode, huge_tile, many_scans, thin
from pipeline.config import ImagesConfig
from pipeline.data.decode import BadImage, TooCostly, TooManyPixels, TooSlow, decode, to_rgb
from pipeline.data.decode_limits import MAX_SCANS, Limits
from pipeline.data.decoder_pool import Decoders, DecodingStopped
from pipeline.data.decoder_process import DecodingProcess, Request
from pipeline.data.decoder_worker import Answer
from pipeline.data.image_table import read_images
from pipeline.data.resize import Transform
from pipeline.errors import UserError

TRANSFORM = Transform(32, 40)
LIMITS = Limits(25_000_000, 10.0)
MEBIBYTE = 2**20


def picture(seed: int = 0, size: tuple[int, int] = (60, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    made = Decoders(2, reserve=True)
    yield made
    made.close()


def test_same_pixels_as_in_this_process(decoders: Decoders) -> None:
    for seed, kind in enumerate(("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")):
        data = encode(picture(seed), kind)
        expected = TRANSFORM(decode(data, LIMITS.pixels))
        assert np.array_equal(decoders.pixels(data, TRANSFORM, LIMITS), expected), kind


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (thin(600_000), "too large: 1 x 600000 pixels, a side longer than 65535"),
        (thin(25_000_000), "a side longer than 65535"),
        (huge_tile(), "too large: a tile of 65520 x 32752 pixels"),
        (huge_tile(1, 4_000_000_000), "too large: a tile of 1 x 4000000000 pixels"),
        (many_scans(64, MAX_SCANS + 1), f"built to be slow: {MAX_SCANS + 1} JPEG scans, more than {MAX_SCANS}"),
    ],
    ids=["thin", "thinner", "a tile", "a long tile", "scans"],
)
def test_refused_before_anything_is_allocated(data: bytes, reason: str) -> None:
    with bounded(memory=8 * MEBIBYTE), pytest.raises(BadImage, match=reason):
        decode(data, LIMITS.pixels)


@pytest.mark.parametrize(
    "data",
    [
        huge_tile(64, 64),
        encode(picture(size=(300, 200)), "TIFF", compression="jpeg"),
        encode(picture(size=(300, 200)), "TIFF", tiffinfo={278: 1}),  # one row per strip
        many_scans(64, MAX_SCANS),
        encode(picture(), "JPEG", progressive=True),
    ],
    ids=["64 tiles", "JPEG in TIFF", "a strip per row", "the most scans", "progressive"],
)
def test_honest_files_of_these_kinds_are_read(data: bytes) -> None:
    assert decode(data, LIMITS.pixels).mode == "RGB"


@pytest.mark.parametrize("height", [30_000, 60_000])
def test_a_thin_image_is_cropped_before_it_is_scaled(height: int) -> None:
    """One pixel wide and 138 bytes small: scaled whole to 224 pixels of width, it took 6.9 GB and 12.9 GB."""
    data = thin(height)
    with bounded(memory=32 * MEBIBYTE):
        assert Transform(224, 256)(decode(data, LIMITS.pixels)).shape == (224, 224, 3)


@pytest.mark.parametrize("shape", [(13, 300), (300, 13), (7, 999), (50, 4000), (1, 57), (2000, 90)])
@pytest.mark.parametrize("transform", [Transform(16, 20), Transform(32, 32), Transform(224, 256)])
def test_cropping_first_changes_nothing_else(shape: tuple[int, int], transform: Transform) -> None:
    image = picture(size=shape)
    scale = transform.resize / min(shape)
    width, height = (max(transform.size, round(side * scale)) for side in shape)
    left, top = (width - transform.size) // 2, (height - transform.size) // 2
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    whole = np.asarray(scaled.crop((left, top, left + transform.size, top + transform.size)))
    assert np.abs(transform(image).astype(int) - whole).max() <= 1, "the same but for rounding"


def test_conversion_in_bands_is_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = picture(size=(70, 90))
    clear = rgb.convert("RGBA")
    clear.putalpha(picture(1, (70, 90)).convert("L"))
    images = [
        rgb,
        clear,
        rgb.convert("P"),
        rgb.convert("CMYK"),
        clear.convert("LA"),
        rgb.convert("1"),
        Image.fromarray(np.linspace(0, 65_535, 6300).reshape(90, 70).astype(np.uint16)),
    ]
    whole = [np.asarray(to_rgb(image)) for image in images]
    monkeypatch.setattr("pipeline.data.decode.BAND_PIXELS", 7 * 70)
    for image, expected in zip(images, whole, strict=True):
        assert np.array_equal(np.asarray(to_rgb(image)), expected), image.mode


@pytest.mark.parametrize("orientation", range(10))
def test_upright_as_pillow_has_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(np.asarray(decode(data, LIMITS.pixels)), np.asarray(expected))


def test_a_slow_image_is_ended_by_its_limit(decoders: Decoders) -> None:
    """Three seconds of work and a limit of a tenth of one."""
    with pytest.raises(TooSlow, match=r"takes more than 0\.1 s of processor time to decode"):
        decoders.pixels(many_scans(4992, MAX_SCANS), TRANSFORM, Limits(25_000_000, 0.1))
    assert decoders.pixels(encode(picture(), "PNG"), TRANSFORM, LIMITS).shape == (32, 32, 3), "it goes on"


def test_others_do_not_wait_for_slow_images(decoders: Decoders) -> None:
    """Ten slow images come first; a small one that comes after them is done before the second of them."""
    data = many_scans(2000, MAX_SCANS)
    slow = [decoders.submit_pixels(data, TRANSFORM, LIMITS) for _ in range(10)]
    innocent = decoders.submit_pixels(encode(picture(), "PNG"), TRANSFORM, LIMITS)
    assert innocent.result(timeout=60).shape == (32, 32, 3)
    assert sum(future.done() for future in slow) <= 2


def test_an_image_that_only_turns_out_to_be_slow_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed for time while it should be quick gives the image a second, longer try."""
    asked: list[bool] = []
    ask = DecodingProcess.ask

    def slow_when_quick(self: DecodingProcess, requests: Sequence[Request]) -> Generator[Answer]:
        [(header, _, _)] = requests
        asked.append(header["quick"])
        yield from [({"slow": True}, b"")] if header["quick"] else ask(self, requests)

    monkeypatch.setattr(DecodingProcess, "ask", slow_when_quick)
    decoders = Decoders(1, reserve=True)
    assert decoders.pixels(encode(picture(), "PNG"), TRANSFORM, LIMITS).shape == (32, 32, 3)
    decoders.close()
    assert asked == [True, False]


def test_memory_of_an_image_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a format to need more than was ever measured, the image is refused and the process stays below its limit."""
    monkeypatch.setattr("pipeline.data.decode_limits.BYTES_PER_PIXEL", 1)
    monkeypatch.setattr("pipeline.data.decode_limits.SLACK_BYTES", MEBIBYTE)
    decoders = Decoders(1)
    data = encode(Image.new("RGB", (5000, 4000)), "PNG")
    with pytest.raises(TooCostly, match="decoding exceeds the memory limit"):
        decoders.pixels(data, TRANSFORM, LIMITS)
    decoders.close()


@pytest.mark.long
def test_the_stated_memory_holds_for_every_format() -> None:
    """The largest image of every format, with whatever takes most memory in it."""
    side = 5000
    exif = Image.Exif()
    exif[0x0112] = 6
    flat, clear = Image.new("RGB", (side, side), (9, 8, 7)), Image.new("RGBA", (side, side), (1, 2, 3, 4))
    files = [
        encode(clear, "PNG", exif=exif, compress_level=1),
        encode(flat, "JPEG", progressive=True, subsampling=0, exif=exif),
        encode(clear, "WEBP", lossless=True, exif=exif, method=0),
        encode(clear, "TIFF", compression="tiff_lzw", tiffinfo={278: side}),
        encode(flat, "BMP"),
        encode(flat.convert("P"), "GIF"),
    ]
    pool = Decoders(1)
    process = pool._processes[0].start().pid
    for data in files:
        reset_peak(process)
        assert pool.pixels(data, TRANSFORM, LIMITS).shape == (32, 32, 3)
        assert peak_bytes(process) <= LIMITS.process_memory(len(data))
    pool.close()


def test_a_killed_process_is_replaced() -> None:
    decoders = Decoders(1)
    data = encode(picture(), "PNG")
    decoders.pixels(data, TRANSFORM, LIMITS)
    running = decoders._processes[0].start()
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert decoders.pixels(data, TRANSFORM, LIMITS).shape == (32, 32, 3)
    decoders.close()


def test_what_may_be_different_next_time_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoding process that somebody killed, as a system short of memory does, makes no image a bad one for ever."""
    root = tmp_path / "images"
    for split in ("train", "val"):
        (root / split / "a").mkdir(parents=True)
        picture(1 if split == "val" else 0).save(root / split / "a" / "some.png")
    config = ImagesConfig(root=root, size=16)
    ended: Future[object] = Future()
    ended.set_exception(TooCostly("ended the decoding process (code -9)"))
    with monkeypatch.context() as patch:
        patch.setattr(Decoders, "submit_pixels", lambda *_: ended)
        with pytest.raises(
            UserError, match=r"no usable image among 2 files; .* ended the decoding process \(code -9\)"
        ):
            read_images(config, tmp_path / "cache")
    assert len(read_images(config, tmp_path / "cache")[0]) == 2


def test_closing_ends_what_is_under_way(decoders: Decoders) -> None:
    data = many_scans(4992, MAX_SCANS)
    slow = [decoders.submit_pixels(data, TRANSFORM, LIMITS) for _ in range(4)]
    while not any(future.running() for future in slow):
        time.sleep(0.01)
    decoders.close()
    assert all(isinstance(future.exception(timeout=10), DecodingStopped) for future in slow)
    assert not [thread for thread in threading.enumerate() if thread in decoders._threads]
    with pytest.raises(DecodingStopped):
        decoders.pixels(encode(picture(), "PNG"), TRANSFORM, LIMITS)


def test_reasons_come_back_as_they_are(decoders: Decoders) -> None:
    with pytest.raises(TooManyPixels) as caught:
        decoders.pixels(encode(Image.new("L", (300, 200)), "PNG"), TRANSFORM, Limits(50_000, 10))
    assert (caught.value.size, caught.value.limit) == ("300 x 200 pixels", 50_000)
    assert str(caught.value) == "too large: 300 x 200 pixels, more than images.max_pixels = 50000"
    for data, reason in ((b"", "empty file"), (b"text", "not an image"), (encode(picture(), "PNG")[:60], "unreadable")):
        with pytest.raises(BadImage, match=reason):
            decoders.pixels(data, TRANSFORM, LIMITS)
