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
        waiting: deque[tuple[list[Future[Line]], np.ndarray]] = deque()
        for number, batch in enumerate(batches):
            buffer = buffers[number % len(buffers)]
            futures = [self._threads.submit(self._load, path, buffer[place]) for place, path in enumerate(batch)]
            waiting.append((futures, buffer))
            if len(waiting) > PREFETCHED_BATCHES:
                yield _resolved(*waiting.popleft())
        while waiting:
            yield _resolved(*waiting.popleft())

    def close(self) -> None:
        """End all threads and processes."""
        self._decoders.close()
        self._threads.shutdown(cancel_futures=True)

    def _load(self, path: Path, place: np.ndarray) -> Line:
        line: Line = {"path": str(path), "stamp": stamp(path)}
        try:
            data = self._policy.read(path)
            place[:] = self._decoders.pixels(data, self._policy.header.transform, self._limits)
        except TooSlow as slow:
            line["bad"] = f"{slow} (runtime.decode_seconds)"
        except BadImage as bad:
            line["bad"] = str(bad)
        return line


def _resolved(futures: list[Future[Line]], buffer: np.ndarray) -> tuple[list[Line], np.ndarray]:
    lines = [future.result() for future in futures]
    good = [place for place, line in enumerate(lines) if "bad" not in line]
    return lines, buffer[: len(lines)] if len(good) == len(lines) else buffer[good]
