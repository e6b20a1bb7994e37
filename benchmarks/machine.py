"""Description of the machine, and paired timings, for all benchmarks."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def machine() -> str:
    """Processor, cores and torch, in a line."""
    name = _processor() or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    """The processor's name on Linux; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def time_alternating(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each job in each round, without a first warm-up round.

    Jobs alternate within a round, so that a change of the machine's speed affects all of them and cancels in the ratios.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            if number:
                times[name].append(time.perf_counter() - begin)
    return times


def median_ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Median over rounds of seconds of `one` / seconds of `other`."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))
