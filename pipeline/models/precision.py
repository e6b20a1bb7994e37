"""Numerical precision of forward and backward passes: float32, or bfloat16 where the device is faster with it.

Under autocast, convolutions and matrix products take bfloat16; weights, sums, normalisation and outputs stay float32.
Likelihoods, ratios, objectives and tables are computed from float32 outputs in either precision.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import torch
from filelock import FileLock
from torch import nn

from pipeline.config import RuntimeConfig
from pipeline.config.runtime import Precision
from pipeline.errors import UserError
from pipeline.run.atomic_files import Damaged, printable, read_object, short_hash, write_json

VARIABLE = "IMAGE_RLHF_PRECISION"  # what `auto` means, for tests and jobs on machines of several kinds
MIN_GAIN = 1.5  # bfloat16 is used from this ratio of speeds: a smaller one is not worth its rounding in training
MEASURE_SECONDS = 1.0
MEASURE_IMAGES = 16

log = logging.getLogger(__name__)


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """A context in which networks compute in bfloat16, or one that changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()


def choose_bf16(
    config: RuntimeConfig, network: Callable[[], nn.Module], size: int, *, name: str, device: torch.device
) -> bool:
    """Whether a network computes in bfloat16: as `runtime.precision` says; with `auto`, if it is faster here.

    Args:
        network: makes one of its kind; its weights do not matter.
        size: of the images, in pixels.
        name: of the network, for the log and for the measurement that is kept in the user's cache folder.
    """
    wanted = os.environ.get(VARIABLE, "auto") if config.precision == "auto" else config.precision
    if wanted not in get_args(Precision):
        raise UserError(f"{VARIABLE}={printable(wanted)}: it is not one of {', '.join(get_args(Precision))}")
    if wanted != "auto":
        return wanted == "bf16"
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor()} {_cpu_model()}"
    key = short_hash(machine, torch.__version__, str(torch.get_num_threads()), name, str(size))
    gain = _kept_gain(cache_folder() / f"{key}.json", lambda: measure_gain(network().to(device), size, device))
    used = "bf16 is used" if gain >= MIN_GAIN else "fp32 is used"
    log.debug("%s at %d pixels: bf16 is %.2f times as fast as fp32 here; %s", name, size, gain, used)
    return gain >= MIN_GAIN


def _kept_gain(file: Path, measure: Callable[[], float]) -> float:
    """The gain in a file; measured and written by one process at a time if it is not there."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            with contextlib.suppress(OSError, Damaged, TypeError, ValueError):
                return float(read_object(file, "gain")["gain"])
            gain = measure()
            write_json(file, {"gain": gain})
            return gain
    except (OSError, UserError):  # the folder cannot be written: it is measured again next time
        return measure()


@torch.no_grad()
def measure_gain(network: nn.Module, size: int, device: torch.device) -> float:
    """How many times as fast a forward pass is in bfloat16 as in float32: the median of pairs, in about a second."""
    network = network.to(memory_format=torch.channels_last).eval()
    images = torch.rand(MEASURE_IMAGES, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def seconds(bf16: bool) -> float:
        begin = time.perf_counter()
        with autocast(device, bf16):
            network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    seconds(False), seconds(True)  # the first pass of each chooses and compiles kernels
    end = time.perf_counter() + MEASURE_SECONDS
    ratios = [seconds(False) / seconds(True)]
    while time.perf_counter() < end and len(ratios) < 50:
        ratios.append(seconds(False) / seconds(True))
    return statistics.median(ratios)


def cache_folder() -> Path:
    """Where measurements of this machine are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "image-rlhf" / "precision"


def _cpu_model() -> str:
    """The processor's name, where the system says it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
