"""A strong and a weak prior under few judgments: what beta is chosen, and whether the judgments help or harm.

    python -m benchmarks.priors --seeds 20 --set "images.root=... model.weights=squeezenet1_1_imagenet.safetensors"

Ants and bees (configs/ants_bees.yaml) with simulated label choices, one in ten wrong. The strong prior is SqueezeNet's own
ImageNet head, its rows for "ant" and "bee", given as reference.checkpoint; the weak one is trained on five labelled images
per class.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch

from benchmarks.judgments import SeedRange
from benchmarks.machine import machine
from benchmarks.seeds import run_all
from pipeline.config import Config, load_config
from pipeline.learning.statistics import t_interval
from pipeline.models.backbone import build_network
from pipeline.models.policy import final_linear
from pipeline.models.serialization import save_model
from pipeline.models.weight_checks import read_weights
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import open_workspace

CONFIG = Path("configs/ants_bees.yaml")
IMAGENET_ROWS = (310, 309)  # "ant" and "bee", in the order of the classes ants, bees
PRIORS = ("strong", "weak")


def imagenet_head(config: Config, path: Path) -> Path:
    """Write a policy of two classes from the ImageNet classifier in `model.weights`."""
    weights = read_weights(Path(config.model.weights))
    network = build_network(config.model, len(IMAGENET_ROWS), 0)
    head, rows = final_linear(network), list(IMAGENET_ROWS)
    with torch.no_grad():
        head.weight.copy_(weights["classifier.1.weight"][rows].flatten(1))
        head.bias.copy_(weights["classifier.1.bias"][rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, network, open_workspace(config).header("policy"))
    return path


def run_seed(prior: str, count: int, seed: int, overrides: list[str]) -> dict[str, float]:
    """One run of all stages: accuracies, the chosen beta, and the calibration of the policy."""
    name = f"priors-{prior}-{count}-s{seed}"
    settings = ["reward.curve=[]", *overrides, f"seed={seed}", f"name={name}", f"collect.count={count}"]
    config = load_config(CONFIG, settings)
    if prior == "strong":
        checkpoint = imagenet_head(config, config.runs / "imagenet-head.safetensors")
        config = load_config(CONFIG, [*settings, f"reference.checkpoint={checkpoint}"])
    summary = run_all(config)
    card = read_json(config.runs / name / "reward" / "card.json")
    return {
        "reference": summary["reference"]["accuracy"],
        "judgments alone": summary["reward"]["argmax_accuracy"],
        "aligned": summary["policy"]["accuracy"],
        "beta": summary["policy"]["beta"],
        "attained": summary["policy"]["attained"],
        "log loss": card["heldout"]["log_loss"],
    }


def points(values: pd.Series) -> str:
    """Mean and 95 % t interval of differences of accuracies, in points, and the lowest."""
    mean, half = t_interval(100 * values.to_numpy())
    return f"{mean:+.1f} ± {half:.1f} (lowest {100 * values.min():+.1f})"


@click.command()
@click.option("--prior", "priors", multiple=True, type=click.Choice(PRIORS), default=PRIORS, show_default=True)
@click.option("--count", "counts", multiple=True, type=int, default=(30, 60, 120), show_default=True)
@click.option("--seeds", type=SeedRange(), default="20", show_default=True, help="20 (0 to 19), or 100-119")
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
def main(priors: tuple[str, ...], counts: tuple[int, ...], seeds: range, overrides: str) -> None:
    """Run every prior with every number of judgments over the seeds, and print a table."""
    click.echo(machine())
    for prior in priors:
        for count in counts:
            rows = pd.DataFrame([run_seed(prior, count, seed, overrides.split()) for seed in seeds])
            means = ", ".join(
                f"{name} {100 * rows[name].mean():.1f} %" for name in ("reference", "judgments alone", "aligned")
            )
            click.echo(
                f"{prior} prior, {count} judgments, {len(rows)} seeds: {means}\n"
                f"  aligned - reference {points(rows['aligned'] - rows['reference'])}, "
                f"aligned - judgments alone {points(rows['aligned'] - rows['judgments alone'])}\n"
                f"  beta {np.median(rows['beta']):.2f} (median; {rows['beta'].min():.2f} to {rows['beta'].max():.2f}), "
                f"attained {rows['attained'].min():.4f} and more"
            )


if __name__ == "__main__":
    main()
