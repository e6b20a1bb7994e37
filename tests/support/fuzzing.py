"""What fuzz tests share: how many examples they try, and the limits that no input may make the code exceed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))  # `make fuzz` sets 2,000
MAX_SECONDS = 10.0
MAX_BYTES = 10**9

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,  # `bounded` has the limit
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def peak_bytes(process: int | str = "self") -> int:
    """Most resident memory of a process since `reset_peak`; 0 where the system does not tell (not Linux)."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 if found else 0


def resident_bytes(process: int | str = "self") -> int:
    """Resident memory of a process now; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 if found else 0


def reset_peak(process: int | str = "self") -> None:
    """Start counting the peak anew."""
    path = Path(f"/proc/{process}/clear_refs")
    if path.exists():
        path.write_text("5")


@contextmanager
def bounded(seconds: float = MAX_SECONDS, memory: int = MAX_BYTES) -> Iterator[None]:
    """What is done inside takes at most so many seconds of processor time, which other work on the machine does not
    change, and at most so many bytes more than there were.
    """
    reset_peak()
    before, started = resident_bytes(), time.process_time()
    yield
    took, grown = time.process_time() - started, peak_bytes() - before
    assert took < seconds, f"took {took:.1f} s of processor time"
    assert grown < memory, f"took {grown / 2**20:.0f} MiB"
