"""Engine: the interface to what computes batches of images, in this process or on many machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from pipeline.config import RuntimeConfig


BATCHES_PER_BLOCK = 8  # a killed worker costs a block; smaller ones would spend more time on being handed out


@dataclass(frozen=True)
class Site:
    """Where a worker computes.

    Attributes:
        device: of its network.
        node: name of its machine; empty in this process.
    """

    device: torch.device
    node: str = ""


class Worker(Protocol):
    """Computes batches in order, and holds what is loaded once: the network, the decoding processes."""

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        """One result per batch, in order. It may take further batches before it yields the first result, so that images
        are decoded while the network computes."""
        ...

    def close(self) -> None:
        """End its threads and processes."""
        ...


# Builds a worker, once per process that computes; engines pickle it. What a batch gives must depend on the batch alone.
Build = Callable[[Site], Worker]


class Engine(ABC):
    """Maps batches through a worker that is built once per process. A new engine is one subclass and one registry line."""

    @abstractmethod
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
        """One result per batch, in the order of the batches; close the generator to end all workers.

        The caller divides images into batches by position. So every engine computes the same batches, and the sums of a
        convolution, which depend on the size of a batch, are rounded alike.

        Args:
            count: number of batches, if it is known.
            runtime: settings of the workers.
            device: this process's device.
            block: largest number of batches that a worker is given together, and whose results are in memory together.

        Raises:
            UserError: the engine is not installed, or a worker raised it.
        """
