"""KL of PPO and of the exact optimum to the reference, for several values of beta.

    python -m benchmarks.betas --config configs/ants_bees.yaml --seeds 5 --set "images.root=... model.weights=..."

Prints, for each beta, attained and KL on training images of PPO and of pi*, and whether KL falls with every increase of beta.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.machine import machine
from pipeline.config import load_config
from pipeline.learning.statistics import t_interval
from pipeline.run.atomic_files import read_json
from stages.cli import STAGES

BETAS = (0.03, 0.1, 0.3, 1.0, 3.0)


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
@click.option("--seeds", default=5, show_default=True)
def main(path: Path, overrides: str, seeds: int) -> None:
    """Run PPO for every beta on the same reference, judgments and reward model."""
    rows = []
    for seed in range(seeds):
        base = ["reward.curve=[]", *overrides.split(), f"seed={seed}", f"name=betas-{path.stem}-s{seed}"]
        for beta in BETAS:
            config = load_config(path, [*base, f"ppo.beta={beta}"])
            for _, module, _ in STAGES:
                importlib.import_module(module).run(config)
            policy = read_json(config.runs / config.name / "summary.json")["policy"]
            rows.append({"seed": seed, "beta": beta, **{key: policy[key] for key in ("kl", "kl_star", "attained")}})
            click.echo(", ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), err=True)
    frame = pd.DataFrame(rows)
    click.echo(f"{path.name} {overrides}: {seeds} seeds; {machine()}")
    for beta, own in frame.groupby("beta"):
        relative = (own["kl"] / own["kl_star"] - 1).to_numpy()
        mean, half = t_interval(own["kl"].to_numpy())
        click.echo(
            f"beta {beta:<5g} KL {mean:.3f} +- {half:.3f}, of pi* {own['kl_star'].mean():.3f}; relative difference {100 * relative.mean():+.1f} %, "
            f"at most {100 * np.abs(relative).max():.1f} %; attained {own['attained'].mean():.4f}, lowest {own['attained'].min():.4f}"
        )
    falls = all((np.diff(own.sort_values("beta")["kl"]) < 0).all() for _, own in frame.groupby("seed"))
    click.echo(
        "KL falls with every increase of beta in every seed"
        if falls
        else "KL does not fall with every increase of beta"
    )


if __name__ == "__main__":
    main()
