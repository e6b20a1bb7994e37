"""Time and memory of PPO by the number of images, head only; each size in a separate process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import click
import numpy as np
import torch

SIZES = (1_000, 10_000, 100_000)
FEATURES, CLASSES = 512, 10


def measure(images: int) -> dict[str, float]:
    """Seconds per epoch over all images, in rollouts of 1,000, and MB of peak memory beyond features and tables."""
    from pipeline.config.ppo import PPOConfig
    from pipeline.data.feature_cache import Features
    from pipeline.learning.environment import Inputs
    from pipeline.models.backbone import Split
    from pipeline.run.runtime import Runtime, generator, minibatches
    from stages.ppo.learner import Learner
    from stages.ppo.update import update

    cpu = torch.device("cpu")
    random = np.random.default_rng(0)
    stored = random.standard_normal((images, FEATURES), dtype=np.float32)
    features = Features(None, None, stored, cpu)  # type: ignore[arg-type]
    reward, log_ref = torch.randn(images, CLASSES), torch.full((images, CLASSES), -float(np.log(CLASSES)))
    head = torch.nn.Linear(FEATURES, CLASSES)
    config = PPOConfig(batch_size=1000, epochs=1, minibatch_size=100, target_kl=None)
    learner = Learner.start(config, Runtime(cpu), Split(head, None, head), torch.arange(images), seed=0, beta=0.3)

    def epoch() -> float:
        begin = time.perf_counter()
        for rows in minibatches(torch.arange(images), config.batch_size, generator(1)):
            update(learner, learner.act(Inputs(features, rows), log_ref[rows], reward[rows]))
        return time.perf_counter() - begin

    for rows in minibatches(torch.arange(1000), 1000, generator(1)):  # warm-up: costs that do not depend on the size
        update(learner, learner.act(Inputs(features, rows), log_ref[rows], reward[rows]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = sorted(epoch() for _ in range(3))[1]
    return {"seconds": seconds, "extra_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def print_scaling() -> None:
    """Print seconds and memory for each size."""
    for images in SIZES:
        code = f"import json; from benchmarks.scaling import measure; print(json.dumps(measure({images})))"
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        result = json.loads(process.stdout)
        click.echo(
            f"head, {images:7,} images: {1e6 * result['seconds'] / images:6.1f} s per epoch and million images, "
            f"{result['extra_mb']:6.1f} MB beyond the tables"
        )
