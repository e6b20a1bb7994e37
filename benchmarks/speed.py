"""`make bench`: what caching buys a PPO step, as ratios measured in one run.

ResNet18 at 224 pixels, random weights: a step is forward, loss, backward and optimiser on one minibatch, with what the
rollout of that minibatch costs. `all` starts from pixels, `last_block` from cached prefix outputs, `head` from cached
features. Settings take turns within each round, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import os
import platform
import statistics
import time

import click
import torch
from torch import Tensor

from pipeline.config import ModelConfig, PPOConfig, RuntimeConfig
from pipeline.models.backbone import build_network, split
from pipeline.models.policy import log_policy
from pipeline.optim import adamw
from pipeline.runtime import generator, start
from stages.ppo.environment import forward
from stages.ppo.rollout import make_rollout
from stages.ppo.run import update

CLASSES = 10


class Cached:
    """Features that are in memory, as a rollout's inputs."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, part: Tensor) -> Tensor:
        return self.features[part]


class Step:
    """One PPO iteration of one epoch and one minibatch of `batch` images, rollout included."""

    def __init__(self, trainable: str, batch: int, size: int) -> None:
        network = build_network(ModelConfig(weights="none"), CLASSES, seed=0)
        self.pieces = split(network, trainable)  # type: ignore[arg-type]
        images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = images if self.pieces.prefix is None else self.pieces.prefix(images)
        self.inputs = Cached(features)
        self.reward, self.log_ref = torch.randn(batch, CLASSES), torch.log_softmax(torch.randn(batch, CLASSES), -1)
        self.config = PPOConfig(epochs=1, minibatch_size=batch, target_kl=None)
        self.optimiser = adamw(self.pieces.suffix.parameters(), 1e-5)
        self.runtime, self.random, self.batch = start(RuntimeConfig()), generator(0), batch

    def __call__(self) -> None:
        log_old = log_policy(forward(self.pieces.suffix, self.inputs))  # type: ignore[arg-type]
        rollout = make_rollout(self.inputs, log_old, self.log_ref, self.reward, 0.3, self.random)  # type: ignore[arg-type]
        update(self.pieces.suffix, self.optimiser, rollout, self.config, self.runtime, self.random)


def seconds_an_image(step: Step) -> float:
    begin = time.perf_counter()
    step()
    return (time.perf_counter() - begin) / step.batch


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Measurements of each; the median counts.")
@click.option("--size", default=224, show_default=True, help="Pixels.")
def main(rounds: int, size: int) -> None:
    """Print images a second and the ratios of issue's interest."""
    steps = {"all": Step("all", 32, size), "last_block": Step("last_block", 32, size), "head": Step("head", 4096, 32)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            taken = seconds_an_image(step)
            if number:  # the first round warms up
                times[name].append(taken)
    median = {name: statistics.median(values) for name, values in times.items()}
    click.echo(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ResNet18 at {size} pixels"
    )
    for name, value in median.items():
        ratio = statistics.median(a / b for a, b in zip(times["all"], times[name], strict=True))
        click.echo(f"{name:12} {1 / value:12,.0f} images a second   {ratio:10,.1f} times as fast as all")


if __name__ == "__main__":
    main()
