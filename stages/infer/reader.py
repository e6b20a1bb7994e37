"""Read and decode files, one batch ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pipeline.config import Config
from pipeline.data.decode import BadImage, TooSlow
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_pool import Decoders
from pipeline.models.predictor import Predictor
from stages.infer.journal import Line, stamp

PREFETCHED_BATCHES = 1  # read and decoded while one is computed
TOGETHER = 16  # files that a thread reads before it waits for their pixels, so that decoders are handed several at once
MAX_WAITING_BYTES = 2**20  # of them


class Reader:
    """Reads in threads and decodes in processes, `infer.workers` of each; `close` ends them."""

    def __init__(self, policy: Predictor, config: Config) -> None:
        self._policy = policy
        self._limits = Limits(policy.max_pixels, config.runtime.decode_seconds)
        self._decoders = Decoders(config.infer.workers)
        self._threads = ThreadPoolExecutor(config.infer.workers + 1, "read")  # one reads while the others wait

    def decoded(self, batches: Iterator[list[Path]], size: int) -> Iterator[tuple[list[Line], np.ndarray]]:
        """For each batch a line per file, and pixels [B, side, side, 3] of the files whose line has no `bad`.

        Buffers are reused: the pixels are valid until the next batch is requested. Allocating thousands of arrays in one
        thread and freeing them in another would fragment memory.

        Args:
            size: maximum number of files per batch.
        """
        side = self._policy.header.size
        buffers = [np.empty((size, side, side, 3), np.uint8) for _ in range(PREFETCHED_BATCHES + 1)]
        waiting: deque[tuple[list[Future[list[Line]]], np.ndarray]] = deque()
        for number, batch in enumerate(batches):
            buffer = buffers[number % len(buffers)]
            parts = [
                self._threads.submit(self._load, batch[first : first + TOGETHER], buffer[first:])
                for first in range(0, len(batch), TOGETHER)
            ]
            waiting.append((parts, buffer))
            if len(waiting) > PREFETCHED_BATCHES:
                yield _resolved(*waiting.popleft())
        while waiting:
            yield _resolved(*waiting.popleft())

    def close(self) -> None:
        """End all threads and processes."""
        self._decoders.close()
        self._threads.shutdown(cancel_futures=True)

    def _load(self, paths: list[Path], places: np.ndarray) -> list[Line]:
        """A line per file; pixels are written to its place, [side, side, 3], of those that begin `places`."""
        lines: list[Line] = [{"path": str(path), "stamp": stamp(path)} for path in paths]
        waiting: list[tuple[Line, np.ndarray, Future[np.ndarray]]] = []
        size = 0
        for line, path, place in zip(lines, paths, places, strict=False):
            try:
                data = self._policy.read(path)
            except BadImage as bad:
                line["bad"] = str(bad)
                continue
            pixels = self._decoders.submit_pixels(data, self._policy.header.transform, self._limits)
            waiting.append((line, place, pixels))
            size += len(data)
            if size > MAX_WAITING_BYTES:
                _finish(waiting)
                waiting, size = [], 0
        _finish(waiting)
        return lines


def _finish(waiting: list[tuple[Line, np.ndarray, Future[np.ndarray]]]) -> None:
    """Put pixels into their places, and reasons into the lines of files without."""
    for line, place, pixels in reversed(waiting):  # so that the thread wakes up once, not for each image
        try:
            place[:] = pixels.result()
        except TooSlow as slow:
            line["bad"] = f"{slow} (runtime.decode_seconds)"
        except BadImage as bad:
            line["bad"] = str(bad)


def _resolved(parts: list[Future[list[Line]]], buffer: np.ndarray) -> tuple[list[Line], np.ndarray]:
    lines = [line for part in parts for line in part.result()]
    good = [place for place, line in enumerate(lines) if "bad" not in line]
    return lines, buffer[: len(lines)] if len(good) == len(lines) else buffer[good]
