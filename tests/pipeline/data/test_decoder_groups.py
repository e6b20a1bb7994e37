"""Small images are handed to a decoding process together; each has an outcome of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import pytest
from PIL import Image

from benchmarks.adversarial_images import encode
from pipeline.data.decode import BadImage, TooSlow, decode
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_job import BYTES_TOGETHER, Job, number_together
from pipeline.data.decoder_pool import Decoders
from pipeline.data.decoder_process import DecodingProcess, Request
from pipeline.data.decoder_worker import Answer
from pipeline.data.resize import Transform

TRANSFORM = Transform(32, 40)
LIMITS = Limits(25_000_000, 10.0)


def picture(seed: int = 0, size: tuple[int, int] = (60, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("seconds", [10.0, 0.1])
def test_small_images_that_are_handed_over_together(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has an outcome of its own, also where one of them ends the process: 10 seconds are enough for it, 0.1 are not."""
    together: list[int] = []
    ask = DecodingProcess.ask

    def counted(self: DecodingProcess, requests: Sequence[Request]) -> Generator[Answer]:
        together.append(len(requests))
        return ask(self, requests)

    monkeypatch.setattr(DecodingProcess, "ask", counted)
    costly = encode(Image.new("1", (7000, 7000)), "PNG")
    assert len(costly) < BYTES_TOGETHER / 2
    small = [encode(picture(seed, (12, 9)), "PNG") for seed in range(5)]
    files = [small[0], small[1], b"", costly, small[2], small[3], b"no image", small[4]]
    decoders = Decoders(1)
    outcomes = [decoders.submit_pixels(data, TRANSFORM, Limits(100_000_000, seconds)) for data in files]
    for number, (data, outcome) in enumerate(zip(files, outcomes, strict=True)):
        if number in (2, 6):
            with pytest.raises(BadImage, match="empty file" if number == 2 else "not an image"):
                outcome.result(timeout=60)
        elif number == 3 and seconds < 1:
            with pytest.raises(TooSlow, match=r"takes more than 0\.1 s"):
                outcome.result(timeout=60)
        else:
            assert np.array_equal(outcome.result(timeout=60), TRANSFORM(decode(data, 100_000_000))), number
    decoders.close()
    assert max(together) > 1
    assert sum(together) >= len(files)


def test_large_images_are_handed_over_alone() -> None:
    quarter = BYTES_TOGETHER // 4
    jobs = [job_of(bytes(size)) for size in (10**6, quarter, quarter, quarter, quarter, 1)]
    assert number_together(jobs, 1) == 1
    assert number_together(jobs, 3) == 3
    assert number_together(jobs, 6) == 5, "four quarters after the first of any size, and no more"
    assert number_together(jobs[::-1], 6) == 5
    assert number_together([job_of(bytes(1)), job_of(bytes(10**6))], 2) == 1


def test_answers_that_nobody_read_are_not_those_of_later_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error between two answers of a group, such as one in the code that takes them, fails one image alone."""
    decoders = Decoders(1)
    files = [encode(picture(seed), "PNG") for seed in range(6)]
    resolve = Job.resolve

    def failing(job: Job, header: dict, payload: bytes) -> None:
        if job.data == files[3]:
            raise RuntimeError("no room")
        resolve(job, header, payload)

    monkeypatch.setattr(Job, "resolve", failing)
    outcomes = [decoders.submit_pixels(data, TRANSFORM, LIMITS) for data in files]
    for number, (data, outcome) in enumerate(zip(files, outcomes, strict=True)):
        if number == 3:
            with pytest.raises(RuntimeError, match="no room"):
                outcome.result(timeout=60)
        else:
            assert np.array_equal(outcome.result(timeout=60), TRANSFORM(decode(data, LIMITS.pixels))), number
    later = encode(picture(9), "PNG")
    assert np.array_equal(decoders.pixels(later, TRANSFORM, LIMITS), TRANSFORM(decode(later, LIMITS.pixels)))
    decoders.close()


def test_requests_and_answers_that_are_larger_than_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests are read before the first answer is written: neither side waits for the other."""
    monkeypatch.setattr("pipeline.data.decoder_job.BYTES_TOGETHER", 2**20)
    decoders = Decoders(1)
    files = [encode(picture(seed), "PNG") for seed in range(60)]
    assert sum(map(len, files)) > 2**19
    outcomes = [decoders.submit_pixels(data, Transform(400, 400), LIMITS) for data in files]
    assert all(outcome.result(timeout=20).shape == (400, 400, 3) for outcome in outcomes)
    decoders.close()


def job_of(data: bytes) -> Job:
    return Job("pixels", {}, data, LIMITS, quick=False, parse=lambda *_: None)
