"""bfloat16 against float32 in one run: a frozen forward pass, and a PPO iteration on the whole network."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import click
import torch

from benchmarks.machine import median_ratio, time_alternating
from pipeline.config import ModelConfig
from pipeline.models.backbone import build_network
from pipeline.models.fold_batchnorm import fold_batchnorm
from pipeline.models.precision import autocast


def print_precision(
    rounds: int, size: int, iteration: Callable[[bool], Callable[[], None]], device: torch.device
) -> None:
    """Print the ratios.

    Args:
        size: of the images, in pixels.
        iteration: makes a PPO iteration in bfloat16 or in float32; calling it runs it.
    """
    network = build_network(ModelConfig(weights="none"), 10, seed=0).to(device)
    folded = fold_batchnorm(network)
    images = torch.randn(32, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(frozen: torch.nn.Module, bf16: bool) -> None:
        with autocast(device, bf16):
            frozen(images).float().cpu()

    times = time_alternating({"fp32": lambda: forward(network, False), "bf16": lambda: forward(folded, True)}, rounds)
    report("frozen forward pass", times)
    low, high = iteration(True), iteration(False)
    report("PPO iteration, all", time_alternating({"fp32": high, "bf16": low}, rounds))


def report(what: str, times: dict[str, list[float]]) -> None:
    """Print the images per second of both and their ratio."""
    each = ", ".join(f"{name} {32 / statistics.median(seconds):.1f}" for name, seconds in times.items())
    click.echo(
        f"{what}: bf16 is {median_ratio(times, 'fp32', 'bf16'):.2f} times as fast as fp32 ({each} images per second)"
    )
