"""How training amplifies rounding: losses of ResNet18 on the digits, from random weights (docs/scaling.md).

With one process, `python -m benchmarks.rounding --threads 2`; with several, `torchrun --nproc_per_node 2 -m
benchmarks.rounding`; with `--dtype float64` to see that only rounding differs.
"""

from __future__ import annotations

import click
import torch
from sklearn.datasets import load_digits
from torch import nn

from pipeline.config import ModelConfig, RuntimeConfig
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.models.backbone import build_network
from pipeline.run.runtime import start

BATCH, SIDE = 64, 32


@click.command()
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option("--threads", default=1)
@click.option("--steps", default=24)
@click.option("--lr", default=1e-3)
def main(dtype: str, threads: int, steps: int, lr: float) -> None:
    runtime = start(RuntimeConfig(device="cpu", threads=threads))
    network = build_network(ModelConfig(backbone="resnet18", weights="none"), 10, 0).to(getattr(torch, dtype)).train()
    digits = load_digits()
    images = torch.from_numpy(digits.images).to(getattr(torch, dtype)) / 16
    images = nn.functional.interpolate(images[:, None], size=SIDE, mode="bilinear").repeat(1, 3, 1, 1)
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.from_numpy(digits.target)
    prepared, optimiser = runtime.prepare(network), adamw(network.parameters(), lr)
    random = torch.Generator().manual_seed(0)
    for step in range(steps):
        batch, share = torch.randperm(len(images), generator=random)[:BATCH], runtime.share(BATCH)
        set_lr(optimiser, lr * warmup_cosine(step, steps, 0.1))
        with runtime.minibatch(share):
            logits = prepared(images[batch][share.positions])
        loss = nn.functional.cross_entropy(runtime.gather(logits, share), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if runtime.is_main:
            click.echo(f"step {step + 1}: loss {float(loss.detach()):.9f}")


if __name__ == "__main__":
    main()
