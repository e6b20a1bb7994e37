"""`make bench`: cost of a PPO step, effect of caching, comparison with stable-baselines3, and scaling, as ratios.

1. `step`: a PPO iteration on the complete ResNet18 at 224 pixels, relative to its bare passes: one forward pass per image for
   the rollout; forward, backward and optimiser step per epoch.
2. `caching`: the same from pixels (`all`), from cached prefix outputs (`last_block`), from cached features (`head`).
3. `sb3`: PPO of stable-baselines3 on the same bandit, network and schedule (head only): samples per second, and time to
   attained 0.95.
4. `precision`: bfloat16 against float32, for a frozen forward pass and a PPO iteration.
5. `scaling`: time and memory of an epoch for 1,000, 10,000 and 100,000 images, head only.
"""

from __future__ import annotations

import statistics

import click
import torch
from torch import Tensor

from benchmarks.machine import machine, median_ratio, time_alternating
from benchmarks.precision import print_precision
from benchmarks.scaling import print_scaling
from benchmarks.stable_baselines import print_comparison
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


def in_memory(features: Tensor, bf16: bool = False) -> Inputs:
    """A rollout's inputs from features in memory."""
    stored = Features(None, None, features.numpy(), features.device, bf16=bf16)  # type: ignore[arg-type]
    return Inputs(stored, torch.arange(len(features)))


class Iteration:
    """One PPO iteration on `images` images of `size` pixels: rollout, then `epochs` epochs of minibatches of `batch`."""

    def __init__(
        self, trainable: str, *, images: int, batch: int, size: int, epochs: int = 1, bf16: bool = False
    ) -> None:
        self.pieces = split(build_network(ModelConfig(weights="none"), CLASSES, seed=0), trainable)  # type: ignore[arg-type]
        pixels = torch.randn(images, 3, size, size).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = pixels if self.pieces.prefix is None else self.pieces.prefix(pixels)
        self.inputs, self.features, self.batch = in_memory(features, bf16), features, batch
        self.reward, self.log_ref = torch.randn(images, CLASSES), torch.log_softmax(torch.randn(images, CLASSES), -1)
        config = PPOConfig(epochs=epochs, minibatch_size=batch, target_kl=None, lr=1e-6)
        runtime = start(RuntimeConfig())
        self.learner = Learner.start(config, runtime, self.pieces, torch.arange(images), seed=0, beta=0.3)

    def __call__(self) -> None:
        update(self.learner, self.learner.act(self.inputs, self.log_ref, self.reward))


class Bare:
    """The bare passes of an `Iteration`, with a plain cross-entropy and without tables, ratios and diagnostics."""

    def __init__(self, iteration: Iteration) -> None:
        self.iteration, self.epochs = iteration, iteration.learner.config.epochs
        self.labels = torch.randint(CLASSES, (len(iteration.features),))
        self.optimiser = adamw(iteration.pieces.suffix.parameters(), 1e-6)

    def __call__(self) -> None:
        network = self.iteration.pieces.suffix.eval()
        order = torch.arange(len(self.labels))
        with torch.no_grad():
            for part in order.split(128):
                network(self.iteration.inputs.batch(part))
        for _ in range(self.epochs):
            for part in order[torch.randperm(len(order))].split(self.iteration.batch):
                loss = torch.nn.functional.cross_entropy(network(self.iteration.inputs.batch(part)), self.labels[part])
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()


def step_cost(rounds: int, size: int) -> None:
    """Print the time of an iteration relative to its bare passes."""
    for epochs in (1, 4):
        iteration = Iteration("all", images=32, batch=16, size=size, epochs=epochs)
        times = time_alternating({"PPO": iteration, "bare": Bare(iteration)}, rounds)
        click.echo(
            f"PPO step, all, {size} pixels, {epochs} epoch{'s' * (epochs > 1)}: {median_ratio(times, 'PPO', 'bare'):.3f} times the bare passes "
            f"({statistics.median(times['PPO']):.2f} s and {statistics.median(times['bare']):.2f} s for 32 images)"
        )


def caching(rounds: int, size: int) -> None:
    """Print the throughput for each part of the network that is trained."""
    steps = {name: Iteration(name, images=32, batch=32, size=size) for name in ("all", "last_block")}
    steps["head"] = Iteration("head", images=4096, batch=4096, size=32)
    times = time_alternating(steps, rounds)
    per_image = {name: [seconds / len(steps[name].features) for seconds in times[name]] for name in steps}
    for name, seconds_each in per_image.items():
        click.echo(
            f"{name:12} {1 / statistics.median(seconds_each):12,.0f} images per second   "
            f"{median_ratio(per_image, 'all', name):10,.1f} times as fast as all"
        )


def precision(rounds: int, size: int) -> None:
    """Print how much faster bfloat16 is."""

    def iteration(bf16: bool) -> Iteration:
        return Iteration("all", images=32, batch=32, size=size, epochs=4, bf16=bf16)

    print_precision(rounds, size, iteration, torch.device("cpu"))


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Measurements of each; the median is reported.")
@click.option("--size", default=224, show_default=True, help="Pixels.")
@click.option("--only", type=click.Choice(["step", "caching", "sb3", "precision", "scaling"]), multiple=True)
def main(rounds: int, size: int, only: tuple[str, ...]) -> None:
    """Print the ratios."""
    click.echo(machine())
    parts = {
        "step": lambda: step_cost(rounds, size),
        "caching": lambda: caching(rounds, size),
        "sb3": lambda: print_comparison(3),
        "precision": lambda: precision(rounds, size),
        "scaling": print_scaling,
    }
    for name, part in parts.items():
        if not only or name in only:
            part()


if __name__ == "__main__":
    main()
