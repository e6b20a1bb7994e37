"""Run a configuration with several seeds: mean, 95 % t interval and median of every metric.

    python -m benchmarks.seeds --config configs/ants_bees.yaml --seeds 10

Finished runs are not repeated. `make compare` compares PPO with baselines.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from pipeline.config import Config, load_config
from pipeline.learning.statistics import t_interval
from pipeline.run.atomic_files import read_json
from stages.cli import STAGES

METRICS = {
    "reference": ("reference", "accuracy"),
    "reward argmax": ("reward", "argmax_accuracy"),
    "reward held-out": ("reward", "heldout_accuracy"),
    "ppo": ("policy", "accuracy"),
    "attained": ("policy", "attained"),
    "attained held-out": ("policy", "attained_heldout"),
    "KL": ("policy", "kl"),
}


def run_all(config: Config) -> dict[str, Any]:
    """All stages up to ppo in this process; returns summary.json plus the wall time of this call."""
    begin = time.perf_counter()
    for _, module, _ in STAGES:
        importlib.import_module(module).run(config)
    summary: dict[str, Any] = read_json(config.runs / config.name / "summary.json")
    return summary | {"wall": time.perf_counter() - begin}


def interval(values: np.ndarray) -> str:
    """Mean with its 95 % t interval."""
    mean, half = t_interval(values)
    return f"{mean:.3f}" if np.isnan(half) else f"{mean:.3f} +- {half:.3f}"


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
@click.option("--seeds", default=3, show_default=True, help="Seeds 0 to N-1.")
def main(path: Path, overrides: str, seeds: int) -> None:
    """Run a configuration over seeds and print the table."""
    rows = []
    for seed in range(seeds):
        settings = [*overrides.split(), f"seed={seed}"]
        name = load_config(path, settings).name
        config = load_config(path, [*settings, f"name={name}-s{seed}"])
        summary = run_all(config)
        row = {title: summary[section][key] for title, (section, key) in METRICS.items()}
        row |= {
            "seconds": sum(summary["seconds"].values()),
            "this call": summary["wall"],
            "peak MB": summary["peak_rss_mb"],
        }
        rows.append(row)
        click.echo(json.dumps({"seed": seed, **{k: round(v, 4) for k, v in row.items()}}))
    table = pd.DataFrame(rows)
    click.echo(f"\n{path.name} {overrides}: {seeds} seeds, {os.cpu_count()} cores")
    for column in table:
        click.echo(f"{column:18} mean {interval(table[column].to_numpy()):18} median {table[column].median():.3f}")
    for other in ("reference", "reward argmax"):
        click.echo(f"ppo - {other:14} {interval((table['ppo'] - table[other]).to_numpy())}")


if __name__ == "__main__":
    main()
