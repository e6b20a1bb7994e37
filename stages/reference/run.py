"""Stage 0: the reference policy pi_ref.

`reference.kind` says what it is: trained on a few labelled images per class; zero-shot, what the backbone's weights know
of the classes already; uniform; or a given model. It is frozen. It must be calibrated, because pi* is proportional to
pi_ref times exp(reward / beta) (docs/method.md 3), and a network fitted to fifty images is overconfident: held-out folds of
the labelled images give a network its temperature, and a linear head its prior.
"""

from __future__ import annotations

import hashlib
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.data.gold_labels import GoldLabels, read_gold_labels
from pipeline.errors import UserError
from pipeline.learning.statistics import expected_calibration_error, gold_accuracy
from pipeline.models.adapters import save_trained
from pipeline.models.policy import divide_logits, log_policy
from pipeline.run.atomic_files import sha256_of, write_atomically
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import Stream, generator
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from stages.reference.calibration import calibration_temperature
from stages.reference.exact_head import check_optimiser, fit_exact_head, fitted_exactly
from stages.reference.training import fit_labels, initial_network


@one_process("reference")
def run(config: Config, force: bool = False) -> bool:
    """Train runs/<name>/reference/; returns False if it is up to date."""
    check_optimiser(config)
    stage = RunFolder(config).stage("reference")
    ws = open_workspace(config)
    gold = read_gold_labels(ws.table, ws.classes)
    labelled = choose_labelled(ws, gold)
    inputs = _inputs(ws, gold, labelled)
    if stage.is_current(inputs) and not force:
        return False
    if ws.runtime.is_main:
        stage.begin()
    with stage.metrics(inputs, ws.runtime) as metrics:
        if config.reference.checkpoint:
            (pieces, features), temperature = ws.cut(ws.load_policy(config.reference.checkpoint)), 1.0
        else:
            rows, labels = torch.from_numpy(labelled), torch.from_numpy(gold.labels[labelled])
            (pieces, features), temperature = initial_network(ws), 1.0
            if len(rows) and fitted_exactly(ws, features, rows):
                temperature = fit_exact_head(ws, pieces, features, rows, labels, metrics)
            elif len(rows):
                temperature = calibration_temperature(ws, rows, labels)
                fit_labels(ws, pieces, features, rows=rows, labels=labels, metrics=metrics)
            divide_logits(pieces, temperature)
    log_pi = log_policy(ws.scores(pieces, features))
    if ws.runtime.is_main:
        saved = save_trained(stage.path, pieces.network, ws.header("policy"))
        listed = pd.DataFrame(
            {"image": ws.table.ids[labelled], "label": [ws.classes[i] for i in gold.labels[labelled]]}
        )
        write_atomically(stage.path / "labelled.csv", listed.to_csv(index=False).encode())
        result = evaluate(ws, log_pi, gold) | {
            "temperature": temperature,
            "labelled_images": len(labelled),
            "given": config.reference.checkpoint is not None,
            "kind": config.reference.resolved,
        }
        stage.finish(inputs, [*saved, "labelled.csv", "metrics.csv"], {"reference": result})
    ws.runtime.wait()
    return True


def choose_labelled(ws: Workspace, gold: GoldLabels) -> np.ndarray:
    """Row numbers of `labelled_per_class` training images of each class, drawn with the run's seed.

    Raises:
        UserError: a class has too few labelled training images.
    """
    wanted = ws.config.reference.labels
    random = generator(ws.config.seed, Stream.LABELLED_IMAGES)
    train = ws.table.rows("train")
    chosen = []
    for number, name in enumerate(ws.classes):
        rows = train[gold.labels[train] == number]
        if len(rows) < wanted:
            raise UserError(
                f"reference.labelled_per_class is {wanted}, but class '{name}' has {len(rows)} labelled training images in "
                f"{ws.table.root}; add some in train/{name}/, lower the number (0 starts from a uniform reference), or give a "
                "trained policy as reference.checkpoint"
            )
        chosen.append(rows[torch.randperm(len(rows), generator=random)[:wanted].numpy()])
    return np.sort(np.concatenate(chosen))


def _inputs(ws: Workspace, gold: GoldLabels, labelled: np.ndarray) -> dict[str, str]:
    pairs = " ".join(f"{ws.table.ids[row]}={gold.labels[row]}" for row in labelled)
    inputs = {"images": ws.table.fingerprint, "labelled": hashlib.sha256(pairs.encode()).hexdigest()}
    if checkpoint := ws.config.reference.checkpoint:
        inputs["checkpoint"] = sha256_of(checkpoint) if checkpoint.is_file() else ""
    return inputs | ws.weights_input()


def evaluate(ws: Workspace, log_pi: Tensor, gold: GoldLabels) -> dict[str, Any]:
    """Accuracy, log loss and calibration of log_pi [N, C] on the evaluation images that have gold labels."""
    rows = ws.table.rows("evaluation")
    known = rows[gold.known[rows]]
    if not len(known):
        return {"accuracy": None, "log_loss": None, "ece": None}
    labels = torch.from_numpy(gold.labels[known])
    return {
        "accuracy": gold_accuracy(log_pi, gold, rows),
        "log_loss": float(-log_pi[known].gather(1, labels[:, None]).mean()),
        "ece": expected_calibration_error(log_pi[known], labels),
    }


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    result = summary["reference"]
    accuracy = "no labelled evaluation images" if result["accuracy"] is None else f"accuracy {result['accuracy']:.1%}"
    if not result["labelled_images"] and not result["given"] and result.get("kind", "uniform") == "uniform":
        accuracy = "uniform: every class is equally likely"
    if result.get("kind") == "zero_shot":  # runs of earlier versions have no kind
        accuracy = f"zero-shot {accuracy}"
    return click.style("reference", bold=True) + f"  {accuracy}, {result['labelled_images']} labelled images"
