"""Dynamic batching: items that arrive one by one are computed together by one thread."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SMOOTHING = 0.2  # weight of the latest batch in the moving average of the pace


@dataclass
class _Waiting(Generic[Item, Result]):
    item: Item
    future: Future[Result] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Result]):
    """Gathers items until there are `size`, or the first has waited `wait` seconds, and computes them together.

    The next batch is gathered while one is computed, so that under load batches are full without waiting. The queue is
    not bounded here; the caller limits it.

    Args:
        compute: returns a result for each item, in order; called from one thread only.
        size: maximum number of items per batch.
        wait: seconds.
    """

    def __init__(self, compute: Callable[[list[Item]], Sequence[Result]], size: int, wait: float) -> None:
        self._compute, self._size, self._wait = compute, size, wait
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_per_item = 0.0
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> Future[Result]:
        """Add an item to the next batch.

        Raises:
            RuntimeError: the batcher is closed.
        """
        waiting: _Waiting[Item, Result] = _Waiting(item)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def seconds_for(self, items: int) -> int:
        """Estimated seconds, at least 1, for so many items at the pace of the last batches."""
        return max(1, math.ceil(items * self._seconds_per_item))

    def stop_waiting(self) -> None:
        """From now on compute items without waiting for a full batch."""
        with self._changed:
            self._wait = 0.0
            self._changed.notify()

    def close(self) -> None:
        """Compute the remaining items and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while gathered := self._gather():
            batch = [waiting for waiting in gathered if waiting.future.set_running_or_notify_cancel()]
            if not batch:  # all were cancelled
                continue
            started = time.monotonic()
            try:
                results = self._compute([waiting.item for waiting in batch])
            except BaseException as error:  # the thread must survive the error of a batch
                for waiting in batch:
                    waiting.future.set_exception(error)
                continue
            pace = (time.monotonic() - started) / len(batch)
            self._seconds_per_item += (SMOOTHING if self._seconds_per_item else 1.0) * (pace - self._seconds_per_item)
            for waiting, result in zip(batch, results, strict=True):
                waiting.future.set_result(result)

    def _gather(self) -> list[_Waiting[Item, Result]]:
        """The next batch; empty when the batcher is closed and no item is left."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            while self._waiting and len(self._waiting) < self._size and not self._closed:
                left = self._waiting[0].since + self._wait - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
