"""The engine `ray`: Ray Data, on the cores of this machine or on the cluster that RAY_ADDRESS names.

Batches are handed out in blocks. A block is computed by one actor; if the actor's process dies, Ray starts another one and
repeats the block.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engines.base import BATCHES_PER_BLOCK, Build, Engine
from pipeline.engines.ray_session import RaySession, ray_session
from pipeline.engines.ray_worker import BLOCK, BlockWorker, Failure
from pipeline.errors import UserError
from pipeline.run.optional_packages import missing

if TYPE_CHECKING:
    import torch

    from pipeline.config import RuntimeConfig

BLOCKS_PER_WORKER = 4  # at least, if there are as many batches: so that all workers end at about the same time
SEGMENT_BLOCKS = 2000  # of one dataset; bounds what the driver has in memory of the names of a billion files


class RayEngine(Engine):
    """`runtime.ray_workers` actors of `runtime.threads` threads each."""

    def map_batches(
        self,
        build: Build,
        batches: Iterator[Any],
        *,
        count: int | None,
        runtime: RuntimeConfig,
        device: torch.device,
        block: int = BATCHES_PER_BLOCK,
    ) -> Generator[Any]:
        if missing(["ray"]):
            raise UserError(
                "the engine ray needs the package ray: run `pip install 'image-rlhf[ray]'`, or use the engine local"
            )
        first = next(batches, None)
        if first is None:  # everything is done already
            return
        with ray_session(runtime) as session:
            runtime = runtime.model_copy(update={"threads": session.threads, "device": session.device})
            size = _batches_per_block(count, session.workers, block)
            blocks = enumerate(_parts(chain([first], batches), size))
            arguments = (session.put(build), session.attempts(), runtime, str(Path.cwd()))
            while segment := list(islice(blocks, SEGMENT_BLOCKS)):
                yield from _mapped(segment, arguments, session)


def _mapped(blocks: list[tuple[int, list[Any]]], arguments: tuple[Any, ...], session: RaySession) -> Iterator[Any]:
    """Results of a segment's batches, in order.

    Args:
        blocks: number and batches of each.
        arguments: of each `BlockWorker`.
    """
    from ray.data import ActorPoolStrategy, from_items

    rows = [{BLOCK: pickle.dumps(block)} for block in blocks]
    results = from_items(rows, override_num_blocks=len(rows)).map_batches(
        BlockWorker,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=session.workers, initial_size=session.initial_workers),
        num_cpus=session.threads,
        num_gpus=session.gpus_per_worker,
    )
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch[BLOCK]:
            answer = pickle.loads(row.as_py())
            if isinstance(answer, Failure):
                raise UserError(answer.message)
            yield from answer


def _batches_per_block(count: int | None, workers: int, largest: int) -> int:
    if count is None:
        return largest
    return min(largest, max(1, count // (BLOCKS_PER_WORKER * workers)))


def _parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(islice(items, size)):
        yield part
