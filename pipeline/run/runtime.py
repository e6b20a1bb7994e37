"""The runtime of a stage: device, threads, determinism, random streams, and one process or several (accelerate)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.config import RuntimeConfig
from pipeline.errors import UserError

Module = TypeVar("Module", bound=nn.Module)


# How long a process waits for the others. Long, because they wait while the first one writes files and reports; the
# launcher notices a process that dies.
PROCESS_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True, eq=False)
class Share:
    """One process's part of a minibatch, never empty, so that all processes run the same collective operations.

    Attributes:
        rows: [b >= 1] rows or positions.
        weight: factor for a sum over `rows`, so that its mean over processes is the sum over the minibatch: the number of
            processes; 0 if the part is empty and `rows` is a placeholder.
    """

    rows: Tensor
    weight: int


@dataclass(frozen=True, eq=False)
class Runtime:
    """A process among those that run the stage together (one, unless started by torchrun or accelerate).

    Every process draws the same minibatches from the same generators and works on its `share` of each; gradients are
    averaged over processes by DistributedDataParallel. Only the first process writes files. All of them do the expensive
    computations, so that none waits for the first.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def prepare(self, module: Module) -> Module:
        """Wrap the trained module for several processes; with one process, the module itself."""
        if self.world == 1:
            return module
        return torch.nn.parallel.DistributedDataParallel(module)  # type: ignore[return-value]

    def share(self, rows: Tensor) -> Share:
        """This process's part of a minibatch of at least one row; its first row, with weight 0, if the part is empty."""
        own = rows[self.rank :: self.world]
        return Share(own, self.world) if len(own) else Share(rows[:1], 0)

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

    def copy_buffers(self, module: nn.Module) -> None:
        """Copy buffers (BatchNorm's statistics) from the first process, so that all have the same network."""
        if self.world > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def agree(self, value: float) -> float:
        """Mean over processes of a number, so that all processes have the same one."""
        if self.world == 1:
            return value
        return float(self.total(torch.tensor(value, dtype=torch.float64, device=self.device))) / self.world

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.world > 1:
            torch.distributed.barrier()


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
    from accelerate import Accelerator, InitProcessGroupKwargs  # slow to import, and only needed here

    group = InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT)
    accelerator = Accelerator(cpu=_device(config.device).type == "cpu", kwargs_handlers=[group])
    return Runtime(accelerator.device, accelerator.process_index, accelerator.num_processes)


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
