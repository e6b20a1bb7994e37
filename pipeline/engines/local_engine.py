"""The engine `local`: this process."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pipeline.engines.base import BATCHES_PER_BLOCK, Build, Engine, Site

if TYPE_CHECKING:
    import torch

    from pipeline.config import RuntimeConfig


class LocalEngine(Engine):
    """One worker in this process, with `runtime.threads` threads."""

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
        with closing(build(Site(device))) as worker:
            yield from worker(batches)
