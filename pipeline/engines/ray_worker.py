"""What runs in the actors of the engine `ray`. Only they import torch's part of the project."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.engines.base import Site, Worker
from pipeline.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.config import RuntimeConfig

BLOCK = "block"  # the only column: pickled batches, or pickled results
MAX_ATTEMPTS = 3  # at a block: Ray itself would repeat forever what ends every worker, for lack of memory
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # torchrun's; workers join no process group


@dataclass(frozen=True)
class Failure:
    """What a UserError in a worker says, and where. Not an exception: Ray would try again, and wrap it."""

    message: str


class Attempts:
    """An actor that counts how often each block was begun."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count one more attempt at the block of this number; returns how many there were."""
        self._begun[number] += 1
        return self._begun[number]


class BlockWorker:
    """An actor of Ray Data: builds its worker at its first block, and keeps it.

    Args:
        work: reference to the pickled `Build`.
        attempts: handle of the actor `Attempts`.
        runtime: device, threads and precision, as the driver decided them.
        folder: the driver's current folder, to which names of files are relative.
    """

    def __init__(self, work: Any, attempts: Any, runtime: RuntimeConfig, folder: str) -> None:
        self._work, self._attempts, self._runtime = work, attempts, runtime
        self._worker: Worker | None = None
        self._node = node_name()
        for name in LAUNCHER:  # inherited if a launcher of several processes started the driver
            os.environ.pop(name, None)
        with contextlib.suppress(OSError):  # where it does not exist, files with relative names are reported
            os.chdir(folder)

    def __call__(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        answers = [self._results(*pickle.loads(row.as_py())) for row in rows[BLOCK]]
        return pa.table({BLOCK: pa.array(map(pickle.dumps, answers), pa.large_binary())})

    def _results(self, number: int, batches: list[Any]) -> list[Any] | Failure:
        import ray

        if ray.get(self._attempts.begin.remote(number)) > MAX_ATTEMPTS:
            return Failure(
                f"node {self._node}: {MAX_ATTEMPTS} workers in turn died at the same block, which begins with "
                f"{str(batches[0])[:200]}; if memory is short, lower infer.batch_size, infer.workers or runtime.ray_workers"
            )
        try:
            if self._worker is None:
                self._worker = self._built()
            return list(self._worker(iter(batches)))
        except UserError as error:
            return Failure(f"node {self._node}: {error}")

    def _built(self) -> Worker:
        import ray

        from pipeline.run.runtime import start

        device = start(self._runtime).device
        return pickle.loads(ray.get(self._work))(Site(device, self._node))


def node_name() -> str:
    """Host name and address of this machine, as Ray knows it."""
    import ray

    return f"{platform.node()} ({ray.util.get_node_ip_address()})"
