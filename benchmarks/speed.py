"""`make bench`: what a PPO step costs, what caching buys, and how it grows, as ratios measured in one run.

1. An optimiser step of PPO on the whole ResNet18 at 224 pixels, its share of the rollout included, beside the bare passes
   it makes: one forward an image for the rollout, and forward, backward and step an epoch.
2. The same from pixels (`all`), from cached prefix outputs (`last_block`), from cached features (`head`).
3. PPO of stable-baselines3 on the same bandit, network and schedule (head only): samples a second, and time to attained 0.95.
4. Time and memory of an epoch as the number of images grows: 1,000, 10,000, 100,000, head only.
"""

from __future__ import annotations

import statistics

import click
import torch
from torch import Tensor

from benchmarks.growth import growth
from benchmarks.machine import machine, ratio, taking_turns
from benchmarks.rival import rival
from pipeline.config import ModelConfig, RuntimeConfig
from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Inputs
from pipeline.learning.optimisers import adamw
from pipeline.models.backbone import build_network, split
from pipeline.run.runtime import start
from stages.ppo.learner import Learner
from stages.ppo.update import update

CLASSES = 10


def in_memory(features: Tensor) -> Inputs:
    """A rollout's inputs that are features already."""
    return Inputs(Features(None, None, features.numpy(), features.device), torch.arange(len(features)))  # type: ignore[arg-type]


class Iteration:
    """One PPO iteration on `images` images: rollout, then `epochs` epochs of minibatches of `batch`."""

    def __init__(self, trainable: str, images: int, batch: int, size: int, epochs: int = 1) -> None:
        self.pieces = split(build_network(ModelConfig(weights="none"), CLASSES, seed=0), trainable)  # type: ignore[arg-type]
        pixels = torch.randn(images, 3, size, size).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = pixels if self.pieces.prefix is None else self.pieces.prefix(pixels)
        self.inputs, self.features, self.batch = in_memory(features), features, batch
        self.reward, self.log_ref = torch.randn(images, CLASSES), torch.log_softmax(torch.randn(images, CLASSES), -1)
        config = PPOConfig(epochs=epochs, minibatch_size=batch, target_kl=None, lr=1e-6)
        runtime = start(RuntimeConfig())
        self.learner = Learner.start(config, runtime, self.pieces, torch.arange(images), seed=0)

    def __call__(self) -> None:
        update(self.learner, self.learner.act(self.inputs, self.log_ref, self.reward))


class Bare:
    """The passes of an `Iteration` and nothing else: no tables, no ratios, no diagnostics; a plain cross-entropy."""

    def __init__(self, twin: Iteration) -> None:
        self.twin, self.epochs = twin, twin.learner.config.epochs
        self.labels = torch.randint(CLASSES, (len(twin.features),))
        self.optimiser = adamw(twin.pieces.suffix.parameters(), 1e-6)

    def __call__(self) -> None:
        network = self.twin.pieces.suffix.eval()
        order = torch.arange(len(self.labels))
        with torch.no_grad():
            for part in order.split(128):
                network(self.twin.inputs.batch(part))
        for _ in range(self.epochs):
            for part in order[torch.randperm(len(order))].split(self.twin.batch):
                loss = torch.nn.functional.cross_entropy(network(self.twin.inputs.batch(part)), self.labels[part])
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()


def step_cost(rounds: int, size: int) -> None:
    for epochs in (1, 4):
        iteration = Iteration("all", 32, 16, size, epochs)
        times = taking_turns({"PPO": iteration, "bare": Bare(iteration)}, rounds)
        click.echo(
            f"PPO step, all, {size} pixels, {epochs} epoch{'s' * (epochs > 1)}: {ratio(times, 'PPO', 'bare'):.3f} times the bare passes "
            f"({statistics.median(times['PPO']):.2f} s and {statistics.median(times['bare']):.2f} s for 32 images)"
        )


def caching(rounds: int, size: int) -> None:
    steps = {"all": Iteration("all", 32, 32, size), "last_block": Iteration("last_block", 32, 32, size)}
    steps["head"] = Iteration("head", 4096, 4096, 32)
    times = taking_turns(steps, rounds)
    each = {name: [seconds / len(steps[name].features) for seconds in found] for name, found in times.items()}
    for name, found in each.items():
        click.echo(
            f"{name:12} {1 / statistics.median(found):12,.0f} images a second   {ratio(each, 'all', name):10,.1f} times as fast as all"
        )


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Measurements of each; the median counts.")
@click.option("--size", default=224, show_default=True, help="Pixels.")
@click.option("--only", type=click.Choice(["step", "caching", "rival", "growth"]), multiple=True)
def main(rounds: int, size: int, only: tuple[str, ...]) -> None:
    """Print the ratios."""
    click.echo(machine())
    parts = {
        "step": lambda: step_cost(rounds, size),
        "caching": lambda: caching(rounds, size),
        "rival": lambda: rival(3),
        "growth": growth,
    }
    for name, part in parts.items():
        if not only or name in only:
            part()


if __name__ == "__main__":
    main()
