"""One image that a decoding process is asked about, and how many are handed over together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pipeline.data.decode import BadImage, TooCostly, TooManyPixels
from pipeline.data.decode_limits import QUICK_SECONDS, Limits
from pipeline.data.decoder_process import Request
from pipeline.data.decoder_worker import Header

BYTES_TOGETHER = 64 * 2**10  # of files that a process is handed together, after the first one


@dataclass(eq=False)
class Job:
    """An image file, what is wanted of it, and the future of that.

    Attributes:
        work: a key of `decoder_worker.WORK`; arguments: of it.
        quick: whether a process gives up after a fraction of a second.
        parse: the future's result from the process's answer.
    """

    work: str
    arguments: dict[str, Any]
    data: bytes
    limits: Limits
    quick: bool
    parse: Callable[[Header, bytes], Any]
    future: Future[Any] = field(default_factory=Future)

    def request(self) -> Request:
        """For a decoding process."""
        seconds = min(QUICK_SECONDS, self.limits.seconds) if self.quick else self.limits.seconds
        header = {
            "work": self.work,
            "arguments": self.arguments,
            "max_pixels": self.limits.pixels,
            "seconds": seconds,
            "memory": self.limits.memory(len(self.data)),
            "quick": self.quick,
        }
        return Request(header, self.data, seconds)

    def resolve(self, header: Header, payload: bytes) -> None:
        """Give the future what a process answered."""
        if "fault" in header:
            self.fail(RuntimeError(f"error in the decoding process: {header['fault']}"))
        elif "limit" in header:
            large = TooManyPixels(header["size"], header["limit"])
            large.args = (header["bad"],)
            self.fail(large)
        elif "costly" in header:
            self.fail(TooCostly(header["costly"]))
        elif "bad" in header:
            self.fail(BadImage(header["bad"]))
        else:
            self.future.set_result(self.parse(header, payload))

    def fail(self, error: Exception) -> None:
        """Give the future an error, unless it is done."""
        if not self.future.done():
            self.future.set_exception(error)


def number_together(jobs: Sequence[Job], most: int) -> int:
    """How many of the first of these jobs, at least one, a process is given together: handing over a small image costs as
    much as decoding it."""
    number, size = 1, 0
    while number < most:
        size += len(jobs[number].data)
        if size > BYTES_TOGETHER:
            break
        number += 1
    return number
