"""Whole runs with audit questions: how often the 95 % interval covers the policy's true accuracy, and how wide it is.

    python -m benchmarks.audit_runs --config configs/ants_bees.yaml --seeds 100-199 --set "collect.audit_fraction=0.5"

Each seed collects simulated answers, trains, aligns and estimates. The true accuracy is that on all images of the pool
that were not trained on: the audited ones and those that nobody was asked about. Finished runs are not repeated.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.judgments import SeedRange
from benchmarks.machine import machine
from benchmarks.seeds import run_all
from feedback_store.audit import audit_images
from pipeline.config import Config, load_config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.learning.statistics import gold_accuracy, wilson_interval
from pipeline.models.policy import log_policy
from pipeline.run.estimate_file import read_estimate
from pipeline.run.workspace import Workspace, open_workspace
from stages.collect.question_plan import pool_of


def untrained_rows(ws: Workspace) -> np.ndarray:
    """Row numbers of the images of the pool about which no answer was trained on."""
    store = ws.run.open_store()
    audited = audit_images(store)
    asked = {*store.per_image_judgments()["image"], *store.comparisons()["image_a"], *store.comparisons()["image_b"]}
    trained = {ws.table.position[image] for image in asked - audited}
    return np.array([row for row in pool_of(ws) if row not in trained])


def run_seed(config: Config) -> dict[str, float]:
    """One run of all stages: its estimate and the true accuracy."""
    run_all(config)
    ws = open_workspace(config)
    estimate = read_estimate(ws.run.path)
    if estimate is None:
        raise click.ClickException("no audit answers; set collect.audit_fraction")
    log_pi = log_policy(ws.scores(*ws.cut(ws.load_policy(ws.run.require("ppo", "model.safetensors")))))
    true = gold_accuracy(log_pi, read_gold_labels(ws.table, ws.classes), untrained_rows(ws))
    if true is None:
        raise click.ClickException("no image has a gold label, so that the true accuracy is unknown")
    row = {"seed": config.seed, "true": true} | {key: estimate[key] for key in ("accuracy", "low", "high", "answers")}
    return row | {"covered": float(estimate["low"] <= true <= estimate["high"])}


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", type=SeedRange(), default="100-199", show_default=True, help="20 (0 to 19), or 100-199")
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
def main(path: Path, seeds: range, overrides: str) -> None:
    """Run a configuration over seeds; print each estimate, then coverage and width."""
    click.echo(machine())
    rows = []
    for seed in seeds:
        name = f"audit-{path.stem}-s{seed}"
        settings = ["reward.curve=[]", *overrides.split(), f"seed={seed}", f"name={name}"]
        rows.append(run_seed(load_config(path, settings)))
        click.echo(json.dumps({key: round(value, 4) for key, value in rows[-1].items()}))
    frame = pd.DataFrame(rows)
    covered, width = int(frame["covered"].sum()), frame["high"] - frame["low"]
    low, high = wilson_interval(covered, len(frame))
    click.echo(
        f"{len(frame)} seeds, {frame['answers'].median():.0f} audit answers each: the interval covers the true accuracy in "
        f"{covered} of them ({covered / len(frame):.1%}, 95 % interval {low:.1%} to {high:.1%}); median width "
        f"{width.median():.3f}\ntrue accuracy {frame['true'].mean():.1%} (mean), estimate - truth "
        f"{100 * (frame['accuracy'] - frame['true']).mean():+.1f} points (mean), "
        f"{100 * (frame['accuracy'] - frame['true']).abs().median():.1f} (median size)"
    )


if __name__ == "__main__":
    main()
