"""Decoding in separate processes that may be killed, so that no image can block, crash or exhaust this process.

Each image has a limit of processor time and memory. With `reserve`, for servers, a slow image does not delay the others:
it is moved to a second queue after a fraction of a second, and one process never decodes such images.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np

from pipeline.data.decode import TooSlow
from pipeline.data.decode_limits import JOIN_SECONDS, Limits
from pipeline.data.decoder_job import Job, number_together
from pipeline.data.decoder_process import DecodingProcess
from pipeline.data.decoder_worker import Header
from pipeline.data.resize import Transform


class DecodingStopped(Exception):
    """The image was not decoded because the decoders were closed."""


class Decoders:
    """A fixed number of decoding processes, started at the first request. Thread-safe.

    Args:
        processes: number of images that are decoded at the same time.
        reserve: add one process for images that are decoded quickly.
    """

    def __init__(self, processes: int, reserve: bool = False) -> None:
        self._reserve, self._max_slow = reserve, processes
        self._jobs: deque[Job] = deque()
        self._slow: deque[Job] = deque()  # known to be slow
        self._slow_running, self._closed = 0, False
        self._changed = threading.Condition()  # only the threads of processes wait for it, and any of them will do
        self._closing = threading.Event()
        self._processes = [DecodingProcess() for _ in range(processes + reserve)]
        self._threads: list[threading.Thread] = []

    def pixels(self, data: bytes, transform: Transform, limits: Limits) -> np.ndarray:
        """The network's input from an image file's bytes: uint8 [size, size, 3].

        Raises:
            BadImage: it cannot be used; the message says why.
            DecodingStopped: `close` was called meanwhile.
        """
        return self.submit_pixels(data, transform, limits).result()

    def submit_pixels(self, data: bytes, transform: Transform, limits: Limits) -> Future[np.ndarray]:
        """As `pixels`, without waiting."""
        shape = (transform.size, transform.size, 3)
        arguments = asdict(transform)
        parse = lambda _, pixels: np.frombuffer(pixels, np.uint8).reshape(shape)  # noqa: E731
        return self._submit("pixels", arguments, data, limits, parse=parse)

    def rendition(self, data: bytes, side: int, limits: Limits) -> tuple[str, bytes]:
        """Media type and bytes of a PNG or JPEG for the browser, whose longer side has at most `side` pixels.

        Raises:
            BadImage, DecodingStopped: as `pixels`.
        """
        parse = lambda header, payload: (header["media_type"], payload)  # noqa: E731
        return self._submit("rendition", {"side": side}, data, limits, parse=parse).result()

    def warm_up(self) -> None:
        """Start all processes.

        Raises:
            RuntimeError: one cannot be started.
        """
        for process in self._processes:
            process.start()

    def close(self) -> None:
        """Kill all processes; unfinished requests raise `DecodingStopped`."""
        with self._changed:
            self._closed = True
            waiting = [*self._jobs, *self._slow]
            self._jobs.clear()
            self._slow.clear()
            self._changed.notify_all()
        self._closing.set()
        for process in self._processes:
            process.end()
        for job in waiting:
            job.fail(DecodingStopped())
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        for process in self._processes:
            process.discard()

    def _submit(
        self,
        work: str,
        arguments: dict[str, Any],
        data: bytes,
        limits: Limits,
        *,
        parse: Callable[[Header, bytes], Any],
    ) -> Future[Any]:
        job = Job(work, arguments, data, limits, self._reserve, parse)
        with self._changed:
            if self._closed:
                raise DecodingStopped
            self._start()
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def _start(self) -> None:
        if self._threads:
            return
        work = [threading.Thread(target=self._work, args=(process,), daemon=True) for process in self._processes]
        self._threads = [*work, threading.Thread(target=self._watch, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _work(self, process: DecodingProcess) -> None:
        """The thread of one process: give it one job after the other, or a few small ones together."""
        while jobs := self._next():
            wanted = [job for job in jobs if job.future.running() or job.future.set_running_or_notify_cancel()]
            while wanted:
                wanted = wanted[self._answered(process, wanted) :]
            with self._changed:
                self._slow_running -= sum(not job.quick for job in jobs)
                if self._slow:
                    self._changed.notify()

    def _answered(self, process: DecodingProcess, jobs: list[Job]) -> int:
        """Ask about jobs, and finish them until the process ends; returns how many were finished, at least one."""
        finished = 0
        try:
            with closing(process.ask([job.request() for job in jobs])) as answers:
                for answer in answers:
                    self._finish(jobs[finished], *answer)
                    finished += 1
        except Exception as error:  # the thread must survive the error of a job
            jobs[finished].fail(DecodingStopped() if self._closed else error)
            finished += 1
        return finished

    def _next(self) -> list[Job]:
        """The next jobs, slow ones last; none when the decoders are closed."""
        with self._changed:
            while not self._closed:
                jobs = []
                if self._jobs:
                    jobs = [self._jobs.popleft() for _ in range(number_together(self._jobs, self._most_together()))]
                elif self._slow and self._slow_running < self._max_slow:
                    jobs = [self._slow.popleft()]
                if jobs:
                    self._slow_running += sum(not job.quick for job in jobs)
                    return jobs
                self._changed.wait()
            return []

    def _most_together(self) -> int:
        """A process's share of the waiting jobs; a server's images are handed over one by one."""
        return 1 if self._reserve else -(-len(self._jobs) // len(self._processes))

    def _finish(self, job: Job, header: Header, payload: bytes) -> None:
        """Resolve a job's future; a slow job is moved to the queue of slow ones."""
        if "slow" not in header:
            job.resolve(header, payload)
            return
        with self._changed:
            if job.quick and not self._closed:
                self._slow.append(replace(job, quick=False))
                return
        reason = f"takes more than {job.limits.seconds:g} s of processor time to decode"
        job.fail(DecodingStopped() if self._closed else TooSlow(reason))

    def _watch(self) -> None:
        """Kill processes that hang without using processor time."""
        while not self._closing.wait(1.0):
            for process in self._processes:
                if process.deadline < time.monotonic():
                    process.kill()


@cache
def shared_decoders() -> Decoders:
    """The decoders of this process for everything but servers: one process per core."""
    decoders = Decoders(os.cpu_count() or 1)
    atexit.register(decoders.close)
    return decoders
