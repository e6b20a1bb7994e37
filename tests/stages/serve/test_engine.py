"""Admission, decoding and batches: what is held is counted, and nothing is held for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, WebPImagePlugin
from support.coroutines import run_coroutine

from benchmarks.adversarial_images import bomb, largest, wide_webp
from pipeline.config import Config
from pipeline.data.decode import BadImage, decode
from pipeline.data.decoder_process import DecodingProcess
from pipeline.models.predictor import Predictor
from stages.serve.app import ServerState
from stages.serve.engine import Engine, Outcome, QueueFull, UnusableImage
from stages.serve.metrics import Metrics
from stages.serve.run import load


def test_the_answer_is_the_predictors(state: Callable[..., ServerState], picture: Callable[..., bytes]) -> None:
    engine = state().engine
    assert engine.reference is not None
    files = [picture(seed, kind=kind) for seed, kind in enumerate(("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"))]
    found = run_coroutine(engine.predict(files, reference=True))
    for data, outcome in zip(files, found, strict=True):
        assert isinstance(outcome, Outcome)
        for predictor, said in ((engine.policy, outcome.policy), (engine.reference, outcome.reference)):
            expected = predictor.predict(data)
            assert said is not None
            assert said.label == expected.label
            assert said.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert found[0].policy.probabilities != found[0].reference.probabilities


def test_the_reference_computes_only_what_it_is_asked(
    state: Callable[..., ServerState], picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = state(batch_size=4, batch_wait_ms=3_600_000).engine
    seen: list[tuple[bool, int]] = []
    true = Predictor.log_probs
    monkeypatch.setattr(
        Predictor,
        "log_probs",
        lambda self, pixels: seen.append((self is engine.policy, len(pixels))) or true(self, pixels),
    )

    async def both() -> list[list[Outcome | UnusableImage]]:
        return await asyncio.gather(engine.predict([picture(1)] * 3, False), engine.predict([picture(2)], True))

    plain, asked = run_coroutine(both())
    assert [one.reference for one in plain] == [None] * 3
    assert asked[0].reference is not None
    assert sorted(seen) == [(False, 1), (True, 4)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bomb(), "send at most 25000000 pixels (serve.max_pixels)"),
        (bomb(12_000), "12000 x 12000 pixels; send at most 25000000 pixels"),
        (b"hello, I am no picture", "not an image"),
        (b"", "empty file"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 100, "send a complete JPEG"),
    ],
    ids=["bomb", "smaller bomb", "text", "empty", "torn"],
)
def test_what_is_no_image_is_said(state: Callable[..., ServerState], data: bytes, says: str) -> None:
    found = run_coroutine(state().engine.predict([data], False))
    assert isinstance(found[0], UnusableImage)
    assert says in str(found[0])


@pytest.mark.parametrize(
    "data", [bomb(), bomb(12_000), wide_webp(), largest(5001)], ids=["large", "smaller", "webp", "just over"]
)
def test_a_bomb_is_not_decoded(state: Callable[..., ServerState], monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    said = run_coroutine(state().engine.predict([data], False))[0]
    assert isinstance(said, UnusableImage)
    assert "too large" in str(said)
    for kind in (Image.Image, ImageFile.ImageFile, WebPImagePlugin.WebPImageFile):
        monkeypatch.setattr(kind, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImage, match="too large"):
        decode(data, 25_000_000)


def test_images_beyond_the_queue_are_refused_at_once(
    state: Callable[..., ServerState], picture: Callable[..., bytes]
) -> None:
    engine = state(queue=3, max_images=3, batch_size=3, batch_wait_ms=3_600_000).engine

    async def scene() -> None:
        first = asyncio.create_task(engine.predict([picture()] * 2, False))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="try again in 1 s"):
            await engine.predict([picture()] * 2, False)
        engine.check()
        second = asyncio.create_task(engine.predict([picture()], False))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            engine.check()
        assert len(await first) + len(await second) == 3
        engine.check()

    run_coroutine(scene())


def test_places_and_bytes_come_back_whatever_happens(
    state: Callable[..., ServerState], picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = state(queue=2, max_images=2).engine

    def broken(self: Predictor, pixels: np.ndarray) -> None:
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "log_probs", broken)
        for _ in range(3):
            with pytest.raises(MemoryError):
                run_coroutine(engine.predict([picture()] * 2, False))
    assert isinstance(run_coroutine(engine.predict([picture()], False))[0], Outcome)
    for _ in range(3):
        run_coroutine(engine.predict([b"bad", b"worse"], False))
    engine.check()
    assert (engine._images, engine._bytes) == (0, 0)


def test_bytes_that_wait_are_bounded(state: Callable[..., ServerState]) -> None:
    engine = state(max_megabytes=1, waiting_megabytes=2).engine
    engine.take_bytes(2**20)
    engine.take_bytes(2**20)
    with pytest.raises(QueueFull, match="bytes"):
        engine.take_bytes(1)
    with pytest.raises(QueueFull, match="bytes"):
        engine.check()
    engine.give_back_bytes(2**20)
    engine.take_bytes(1)


def test_decoding_is_no_more_than_its_processes(
    served: Callable[..., Config], picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for images that are being decoded is what the number of processes says: the workers, and the one in reserve."""
    config = served(workers=2)
    engine = Engine(*load(config), config.serve, Metrics())
    busy, most, lock, true = 0, 0, threading.Lock(), DecodingProcess.ask

    def counted(self: DecodingProcess, *arguments: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        try:
            return true(self, *arguments)
        finally:
            with lock:
                busy -= 1

    monkeypatch.setattr(DecodingProcess, "ask", counted)
    run_coroutine(engine.predict([picture(seed) for seed in range(40)], False))
    engine.close()
    assert 1 <= most <= 3
