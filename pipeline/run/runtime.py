"""The runtime of a stage: device, threads, determinism, random streams, and one process or several (accelerate)."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline.config import RuntimeConfig
from pipeline.errors import UserError
from pipeline.run.processes import Share, distributed_data_parallel, gather_rows

Module = TypeVar("Module", bound=nn.Module)
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Runtime:
    """A process among those that run the stage together (one, unless started by torchrun or accelerate).

    Every process draws the same minibatches and the same random numbers from the same streams, computes its share of
    each minibatch, and gathers the outputs of all: losses are those of one process. Only the first process writes files.
    With one process, no method does anything. All processes must call the methods in the same order.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    shard: bool = False

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def prepare(self, module: Module) -> Module:
        """Wrap the trained module for several processes; with one process, the module itself.

        Gradients are averaged over processes, which those of `gather` expect. With `runtime.shard` what is trained is a
        copy: the optimiser must have its parameters (pipeline/run/sharded.py).
        """
        if self.world == 1:
            return module
        if self.shard:
            from pipeline.run.sharded import ShardedModule

            return ShardedModule(module, self.device, self.world)  # type: ignore[return-value]
        return distributed_data_parallel(module)  # type: ignore[return-value]

    def share(self, size: int) -> Share:
        """This process's part of a minibatch of `size` >= 1 images; its first image, not counted, if the part is empty."""
        if self.world == 1:
            return Share(torch.arange(size), (size,))
        parts = torch.arange(size).tensor_split(self.world)
        own = parts[self.rank]
        return Share(own if len(own) else torch.tensor([0]), tuple(map(len, parts)), self.rank)

    def minibatch(self, share: Share) -> AbstractContextManager[object]:
        """The context of a forward pass in train mode: BatchNorm and dropout are those of the whole minibatch."""
        if self.world == 1:
            return nullcontext()
        from pipeline.models.whole_minibatch import WholeMinibatch

        return WholeMinibatch(share)

    def gather(self, own: Tensor, share: Share) -> Tensor:
        """Outputs [size, ...] of the whole minibatch, in order, from every process's own [b, ...]; differentiable.

        A loss of all outputs, computed by every process, has the gradients of one process once those of the parameters
        are averaged over processes.
        """
        return own if self.world == 1 else gather_rows(own, share)

    def divided(self, size: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """`compute` of the positions 0 .. size - 1, of which each process takes a part; [size, ...], in order."""
        share = self.share(size)
        return self.gather(compute(share.positions), share)

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes of a tensor that each computed on its share."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def average_gradients(self, module: nn.Module) -> None:
        """Average over processes the gradients of a module that `prepare` did not wrap; a missing one counts as zero."""
        if self.world == 1:
            return
        for parameter in module.parameters():
            if parameter.requires_grad:
                grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.total(grad) / self.world

    def of_main(self, compute: Callable[[], Value]) -> Value:
        """What the first process computes, in all processes."""
        if self.world == 1:
            return compute()
        values: list[Any] = [compute() if self.is_main else None]
        torch.distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.world > 1:
            torch.distributed.all_reduce(torch.zeros(1))


def start(config: RuntimeConfig) -> Runtime:
    """Set up device and determinism for this process. Idempotent; joins the process group that a launcher prepared.

    Raises:
        UserError: this machine does not have the device.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # TF32 keeps 10 bits of a factor: the same image in two batches would differ by 1e-3 in its log-probabilities.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _join(config)
    return Runtime(_device(config.device))


def _join(config: RuntimeConfig) -> Runtime:
    """Join the processes that a launcher started; torchrun and accelerate describe them by the same variables."""
    device, distributed = _device(config.device), torch.distributed
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        # Tables are gathered on the CPU, gradients on the device.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(seconds=config.process_timeout))
        atexit.register(_leave)
    return Runtime(device, distributed.get_rank(), distributed.get_world_size(), config.shard)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"runtime.device: this machine has no device '{name}'; use auto or cpu") from error
    return device


class Stream(IntEnum):
    """The purpose of a random stream; the value is hashed with the run's seed.

    Results depend on the values: never change or reuse one.
    REWARD_DROPOUT and CARD_CALIBRATION share a value, but the first is always followed by a member's number.
    """

    LABELLED_IMAGES = 1
    REFERENCE_ORDER = 2
    REFERENCE_VIEWS = 3
    CALIBRATION_FOLDS = 4
    REFERENCE_DROPOUT = 5
    QUESTIONS = 10
    SIMULATED_ANSWERS = 11
    GOLD_QUESTIONS = 12
    SIMULATED_AUDIT = 13
    HELDOUT_SPLIT = 20
    REWARD_ORDER = 21
    REWARD_VIEWS = 22
    BOOTSTRAP = 23
    LEARNING_CURVE = 24
    REWARD_DROPOUT = 25
    CARD_CALIBRATION = 25
    REWARD_FOLDS = 26
    STRONG_VIEWS = 27
    PPO = 30
    HELDOUT_SAMPLE = 32
    DISTILLATION = 40
    SIMULATED_SECONDS = 50
    POSTERIOR = 51
    DQN = 60


def generator(*seeds: int) -> torch.Generator:
    """A random stream for one purpose, `generator(seed, Stream.PPO)`, further numbered by member or process.

    The numbers are hashed together, so that (1, 2) and (2, 1) differ.
    """
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 6364136223846793005 + seed + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)


def minibatches(rows: Tensor, size: int, random: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order, in as few parts of at most `size` as possible.

    The parts are nearly equal, because BatchNorm cannot train on a last part of one image.
    """
    return iter(rows[torch.randperm(len(rows), generator=random)].tensor_split(-(-len(rows) // size)))


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MiB; 0 on systems without it (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
