"""Threads that read, hash and decode the entries of a source; results come back in no particular order."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from pipeline.data.columns import KeyColumn
from pipeline.data.decode import BadImage, TooCostly, TooSlow
from pipeline.data.decoder_pool import shared_decoders
from pipeline.data.pixel_cache import NOT_STORED, PixelCache
from pipeline.data.sources import ImageSource

CHUNK = 256  # entries without a unit that a thread takes at a time
CHUNK_BYTES = 8 * 2**20  # of decoded pixels that are handed on together
DECODING = 4  # images of a thread that are being decoded
DECODING_BYTES = 32 * 2**20  # of these images' files, beyond the first


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an entry is.

    Attributes:
        entry: its number.
        image: the 64 bits of its id, if it is an image.
        pixels: uint8 [size, size, 3]; None if the cache has them.
        reason: why it cannot be used; empty if it can.
        retry: it may succeed with other limits.
    """

    entry: int
    image: int = 0
    pixels: np.ndarray | None = None
    reason: str = ""
    retry: bool = False


def read_entries(
    source: ImageSource, keys: KeyColumn, units: np.ndarray, entries: np.ndarray, pixels: PixelCache
) -> Iterator[list[Outcome]]:
    """Read some entries.

    Args:
        keys: [N] of all entries.
        units: [N] of all entries, -1 for none.
        entries: [M] numbers of those to read.
    """
    if not len(entries):
        return
    threads = min(source.readers or min(32, (os.cpu_count() or 1) + 4), len(entries))
    work = _Work(source, keys, units, entries, pixels, threads)
    try:
        yield from work.outcomes()
    finally:
        work.stop()


class _Work:
    def __init__(
        self,
        source: ImageSource,
        keys: KeyColumn,
        units: np.ndarray,
        entries: np.ndarray,
        pixels: PixelCache,
        threads: int,
    ) -> None:
        self._source, self._keys, self._pixels = source, keys, pixels
        self._max_bytes = pixels.config.max_megabytes * 2**20
        self._hand_on = max(1, min(CHUNK, CHUNK_BYTES // pixels.image_bytes))
        self._tasks = _tasks(units, entries)
        self._guard = threading.Lock()
        self._results: queue.Queue[list[Outcome] | BaseException | None] = queue.Queue(threads)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def outcomes(self) -> Iterator[list[Outcome]]:
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            found = self._results.get()
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def stop(self) -> None:
        """End the threads; what they read but did not hand on is lost."""
        self._stopped.set()
        for thread in self._threads:
            while thread.is_alive():
                try:
                    self._results.get(timeout=0.01)  # it may wait for a place in the queue
                except queue.Empty:
                    thread.join(0.01)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._guard:
                    task = next(self._tasks, None)
                if task is None:
                    break
                self._read(task)
        except BaseException as error:  # raised again by the thread that waits for the outcomes
            self._results.put(error)
            return
        self._results.put(None)

    def _read(self, task: np.ndarray) -> None:
        found: list[Outcome] = []
        for outcome in self._outcomes(task):
            found.append(outcome)
            if len(found) == self._hand_on:
                self._results.put(found)
                found = []
            if self._stopped.is_set():
                return
        if found:
            self._results.put(found)

    def _outcomes(self, task: np.ndarray) -> Iterator[Outcome]:
        waiting: deque[tuple[int, int, int, Future[np.ndarray]]] = deque()
        size = 0
        files = self._source.read_many(self._keys.take(task), self._max_bytes)
        for entry, data in zip(task.tolist(), files, strict=True):
            if isinstance(data, BadImage):
                yield _refused(entry, data)
                continue
            image = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
            if self._pixels.row_of(image) != NOT_STORED:
                yield Outcome(entry, image)
                continue
            pixels = shared_decoders().submit_pixels(data, self._pixels.transform, self._pixels.limits)
            waiting.append((entry, image, len(data), pixels))
            size += len(data)
            while len(waiting) >= DECODING or (size > DECODING_BYTES and waiting):
                size -= waiting[0][2]
                yield _decoded(waiting.popleft())
        for one in waiting:
            yield _decoded(one)


def _decoded(waiting: tuple[int, int, int, Future[np.ndarray]]) -> Outcome:
    entry, image, _, pixels = waiting
    try:
        return Outcome(entry, image, pixels.result())
    except BadImage as bad:
        return _refused(entry, bad)


def _refused(entry: int, bad: BadImage) -> Outcome:
    costly = isinstance(bad, TooCostly)
    setting = " (runtime.decode_seconds)" if isinstance(bad, TooSlow) else ""
    return Outcome(entry, reason=f"{bad}{setting}", retry=costly)


def _tasks(units: np.ndarray, entries: np.ndarray) -> Iterator[np.ndarray]:
    """The entries in tasks: each a run of one unit, or at most CHUNK without a unit."""
    unit = units[entries]
    ends = np.append(np.flatnonzero(unit[1:] != unit[:-1]) + 1, len(entries))
    start = 0
    for end in ends.tolist():
        step = CHUNK if unit[start] < 0 else end - start
        for first in range(start, end, step):
            yield entries[first : min(first + step, end)]
        start = end
