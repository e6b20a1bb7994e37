"""Beta auto against eight fixed betas: accuracy and calibration of the exact optimum, on seeds that `compare` made.

    python -m stages.cli compare --config FILE --seeds 5 --only "PPO, expected" --only supervised
    python -m benchmarks.fixed_betas --config FILE --seeds 5

The best of the fixed betas is chosen afterwards by test accuracy, which no user could do.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import machine
from pipeline.config import load_config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.learning.environment import Environment
from pipeline.learning.objective import log_optimal_policy
from pipeline.learning.statistics import expected_calibration_error, gold_accuracy, t_interval
from pipeline.run.workspace import open_workspace
from stages.compare.run import seeded

FIXED = tuple(2.0**power for power in range(-3, 5))  # 1/8 to 16


def optimum(environment: Environment, beta: float) -> Tensor:
    """log pi* [N, C] with the reference counted as often as `train-reward` chose."""
    discount = 1 - float(environment.reward_model.prior_weight)
    log_ref, utility = environment.log_ref.double(), environment.utility.double()
    return log_optimal_policy(log_ref, utility - discount * beta * log_ref, beta)


def measure(environment: Environment, log_pi: Tensor) -> tuple[float, float]:
    """Accuracy and ECE on labelled test images, in per cent."""
    ws = environment.ws
    gold, rows = read_gold_labels(ws.table, ws.classes), ws.table.rows("evaluation")
    accuracy = gold_accuracy(log_pi, gold, rows)
    if accuracy is None:
        raise click.ClickException("there are no gold labels")
    rows = rows[gold.known[rows]]
    ece = expected_calibration_error(log_pi[torch.from_numpy(rows)], torch.from_numpy(gold.labels[rows]))
    return 100 * accuracy, 100 * ece


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", type=int, default=3, show_default=True)
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
def main(config: Path, seeds: int, overrides: str) -> None:
    """Print a row per beta, and the difference between auto and the best fixed one."""
    base = load_config(config, overrides.split())
    table: dict[str, list[tuple[float, float]]] = {}
    for seed in range(base.seed, base.seed + seeds):
        environment = Environment.open(open_workspace(seeded(base, seed)))
        for name, beta in [("auto", environment.beta), *((f"{beta:g}", beta) for beta in FIXED)]:
            table.setdefault(name, []).append(measure(environment, optimum(environment, beta)))
    click.echo(f"{machine()}\n{config}, {seeds} seeds: accuracy and ECE of pi*, %")
    for name, rows in table.items():
        accuracy, ece = (t_interval(np.array(column)) for column in zip(*rows, strict=True))
        click.echo(f"  beta {name:>6}: {accuracy[0]:.1f} ± {accuracy[1]:.1f}, {ece[0]:.1f} ± {ece[1]:.1f}")
    best = max((name for name in table if name != "auto"), key=lambda name: np.mean([a for a, _ in table[name]]))
    mean, half = t_interval(np.array([a[0] - b[0] for a, b in zip(table["auto"], table[best], strict=True)]))
    click.echo(f"  auto - the best of these, {best}: {mean:+.1f} ± {half:.1f} points")


if __name__ == "__main__":
    main()
