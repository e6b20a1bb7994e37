"""From an image's bytes to what the policy says of it: bounded, decoded in processes of their own, computed in batches."""

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


class Full(Exception):
    """There is no room for more now; `seconds` says when to come again."""

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__(f"{what}; try again in {seconds} s")
        self.seconds = seconds


class Unusable(Exception):
    """An image that cannot be classified; the message tells whoever sent it why, and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What is said of one image; `reference` where it was asked for."""

    policy: Prediction
    reference: Prediction | None = None


@dataclass(frozen=True)
class _Prepared:
    """uint8 pixels [size, size, 3], and whether the reference is to see them, too."""

    pixels: np.ndarray
    reference: bool


class Engine:
    """The policy, and the reference where the run has one, behind a bounded queue. For one event loop.

    Images are counted from when their request has been read until it is answered, bytes from when they are read
    until it is answered. A place is not held while a body comes in: a few hundred slow connections could keep
    everybody else out with that. `check` refuses a request before it is read when there is no place for it now.
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
        """Whether it computes, and is not about to stop."""
        return self._batcher.alive and not self._stopping

    def warm_up(self) -> None:
        """Compute one full batch and start decoding, so that the first request is as fast as any other."""
        self._decoders.warm_up()
        size = self.policy.header.size
        one = _Prepared(np.zeros((size, size, 3), np.uint8), self.reference is not None)
        self._compute([one] * self.settings.batch_size)

    def check(self) -> None:
        """Whether an image could be taken now.

        Raises:
            Full: it could not.
        """
        if self._images >= self.settings.queue:
            raise self._full("too many images are waiting")
        if self._bytes >= self.settings.waiting_megabytes * 2**20:
            raise self._full("too many bytes are waiting")

    def take_bytes(self, count: int) -> None:
        """Hold so many bytes of a request; to be given back.

        Raises:
            Full: there are too many already.
        """
        if self._bytes + count > self.settings.waiting_megabytes * 2**20:
            raise self._full("too many bytes are waiting")
        self._bytes += count

    def give_back_bytes(self, count: int) -> None:
        self._bytes -= count

    async def predict(self, images: list[bytes], reference: bool) -> list[Outcome | Unusable]:
        """What the policy says of each image's bytes, or why it cannot be used.

        Args:
            reference: ask the reference as well, if there is one.

        Raises:
            Full: there is no place for so many images.
        """
        reference = reference and self.reference is not None
        with self._places(len(images)):
            found = await asyncio.gather(*(self._one(data, reference) for data in images))
        self._metrics.answered(sum(isinstance(one, Outcome) for one in found), len(found))
        return found

    def stop(self) -> None:
        """Say that the end is near: what was taken is finished without waiting for company. Callable from any thread."""
        self._stopping = True
        self._batcher.hurry()

    def abandon(self) -> None:
        """Stop decoding, whatever an image may be doing; those who wait are told. Callable from any thread."""
        self._decoders.close()

    def close(self) -> None:
        """End the decoding processes, finish what is being computed, and end its thread."""
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

    def _full(self, what: str) -> Full:
        return Full(what, self._batcher.seconds_for(self._images))

    async def _one(self, data: bytes, reference: bool) -> Outcome | Unusable:
        try:
            transform = self.policy.header.transform
            pixels = await asyncio.wrap_future(self._decoders.submit_pixels(data, transform, self._limits))
        except DecodingStopped:
            raise self._full("the server is stopping") from None
        except TooSlow as slow:
            return Unusable(f"{slow} (serve.decode_seconds); send a smaller or simpler image")
        except TooCostly as costly:
            return Unusable(f"{costly}; send a smaller or simpler image")
        except TooManyPixels as large:
            return Unusable(f"too large: {large.size}; send at most {large.limit} pixels (serve.max_pixels)")
        except BadImage as bad:
            return Unusable(f"{bad}; send a whole JPEG, PNG, WebP, BMP, GIF or TIFF")
        return await asyncio.wrap_future(self._batcher.put(_Prepared(pixels, reference)))

    def _compute(self, batch: list[_Prepared]) -> list[Outcome]:
        pixels = np.stack([one.pixels for one in batch])
        said = _predictions(self.policy, pixels)
        also: dict[int, Prediction] = {}
        if self.reference is not None and (asked := [row for row, one in enumerate(batch) if one.reference]):
            also = dict(zip(asked, _predictions(self.reference, pixels[asked]), strict=True))
        self._metrics.batch(len(batch))
        return [Outcome(prediction, also.get(row)) for row, prediction in enumerate(said)]


def _predictions(predictor: Predictor, pixels: np.ndarray) -> list[Prediction]:
    return [Prediction.of(row, predictor.classes) for row in predictor.log_probs(pixels).exp().numpy()]
