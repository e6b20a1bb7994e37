"""From image bytes to predictions: a bounded queue, decoding in separate processes, and computation in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.config.serve import ServeConfig
from pipeline.data.decode import BadImage, TooCostly, TooManyPixels, TooSlow
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_pool import Decoders, DecodingStopped
from pipeline.models.predictor import Prediction, Predictor
from stages.serve.batcher import Batcher
from stages.serve.metrics import Metrics


class QueueFull(Exception):
    """The queue is full; try again in `seconds`."""

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__(f"{what}; try again in {seconds} s")
        self.seconds = seconds


class UnusableImage(Exception):
    """An image that cannot be classified; the message, for the sender, says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """The predictions for one image; `reference` if it was asked for."""

    policy: Prediction
    reference: Prediction | None = None


@dataclass(frozen=True)
class _Prepared:
    """uint8 pixels [size, size, 3], and whether the reference predicts them, too."""

    pixels: np.ndarray
    reference: bool


class Engine:
    """The policy, and the reference if the run has one, behind a bounded queue. Belongs to one event loop.

    Images are counted from the end of their request's body until the answer, bytes from when they are read until the
    answer. An image has no place in the queue while its body is received: otherwise a few hundred slow connections
    could block all others. `check` refuses a request before its body is read if the queue is full.
    """

    def __init__(self, policy: Predictor, reference: Predictor | None, settings: ServeConfig, metrics: Metrics) -> None:
        self.policy, self.reference, self.settings, self._metrics = policy, reference, settings, metrics
        self._images, self._bytes, self._stopping = 0, 0, False
        self._limits = Limits(policy.max_pixels, settings.decode_seconds)
        self._decoders = Decoders(settings.workers, reserve=True)
        self._batcher = Batcher(self._compute, settings.batch_size, settings.batch_wait_ms / 1000)
        metrics.watch(lambda: self._images, lambda: self._bytes)

    @property
    def healthy(self) -> bool:
        """Whether it computes, and is not stopping."""
        return self._batcher.alive and not self._stopping

    def warm_up(self) -> None:
        """Compute one full batch and start decoding, so that the first request is as fast as any other."""
        self._decoders.warm_up()
        size = self.policy.header.size
        one = _Prepared(np.zeros((size, size, 3), np.uint8), self.reference is not None)
        self._compute([one] * self.settings.batch_size)

    def check(self) -> None:
        """Check that the queue has a place.

        Raises:
            QueueFull: it has none.
        """
        if self._images >= self.settings.queue:
            raise self._full("too many images are waiting")
        if self._bytes >= self.settings.waiting_megabytes * 2**20:
            raise self._full("too many bytes are waiting")

    def take_bytes(self, count: int) -> None:
        """Count so many bytes of a request as waiting, until `give_back_bytes`.

        Raises:
            QueueFull: too many bytes are waiting.
        """
        if self._bytes + count > self.settings.waiting_megabytes * 2**20:
            raise self._full("too many bytes are waiting")
        self._bytes += count

    def give_back_bytes(self, count: int) -> None:
        self._bytes -= count

    async def predict(self, images: list[bytes], reference: bool) -> list[Outcome | UnusableImage]:
        """Predictions for each image's bytes, or the reason why it cannot be used.

        Args:
            reference: also return the reference's prediction, if there is a reference.

        Raises:
            QueueFull: the queue has no place for so many images.
        """
        reference = reference and self.reference is not None
        with self._places(len(images)):
            outcomes = await asyncio.gather(*(self._one(data, reference) for data in images))
        self._metrics.answered(sum(isinstance(one, Outcome) for one in outcomes), len(outcomes))
        return outcomes

    def stop(self) -> None:
        """Prepare to stop: accepted images are computed without waiting for full batches. Callable from any thread."""
        self._stopping = True
        self._batcher.stop_waiting()

    def abandon(self) -> None:
        """Kill the decoding processes; waiting requests get an error. Callable from any thread."""
        self._decoders.close()

    def close(self) -> None:
        """End the decoding processes, finish the current batches, and end their thread."""
        self._decoders.close()
        self._batcher.close()

    @contextmanager
    def _places(self, images: int) -> Iterator[None]:
        if self._images + images > self.settings.queue:
            raise self._full("too many images are waiting")
        self._images += images
        try:
            yield
        finally:
            self._images -= images

    def _full(self, what: str) -> QueueFull:
        return QueueFull(what, self._batcher.seconds_for(self._images))

    async def _one(self, data: bytes, reference: bool) -> Outcome | UnusableImage:
        try:
            transform = self.policy.header.transform
            pixels = await asyncio.wrap_future(self._decoders.submit_pixels(data, transform, self._limits))
        except DecodingStopped:
            raise self._full("the server is stopping") from None
        except TooSlow as slow:
            return UnusableImage(f"{slow} (serve.decode_seconds); send a smaller or simpler image")
        except TooCostly as costly:
            return UnusableImage(f"{costly}; send a smaller or simpler image")
        except TooManyPixels as large:
            return UnusableImage(f"too large: {large.size}; send at most {large.limit} pixels (serve.max_pixels)")
        except BadImage as bad:
            return UnusableImage(f"{bad}; send a complete JPEG, PNG, WebP, BMP, GIF or TIFF")
        return await asyncio.wrap_future(self._batcher.put(_Prepared(pixels, reference)))

    def _compute(self, batch: list[_Prepared]) -> list[Outcome]:
        pixels = np.stack([one.pixels for one in batch])
        policy = _predictions(self.policy, pixels)
        reference: dict[int, Prediction] = {}
        if self.reference is not None and (asked := [row for row, one in enumerate(batch) if one.reference]):
            reference = dict(zip(asked, _predictions(self.reference, pixels[asked]), strict=True))
        self._metrics.batch(len(batch))
        return [Outcome(prediction, reference.get(row)) for row, prediction in enumerate(policy)]


def _predictions(predictor: Predictor, pixels: np.ndarray) -> list[Prediction]:
    return [Prediction.of(row, predictor.classes) for row in predictor.log_probs(pixels).exp().numpy()]
