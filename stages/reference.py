"""Stage 0: the reference policy pi_ref.

Supervised training on a few labelled images a class, then temperature scaling, then frozen. The temperature is fitted
on held-out folds of the same few images: everything after this stage multiplies pi_ref by evidence (METHOD 3), so it
has to be as sure of itself as it is right, and a network that has memorised fifty images is far surer.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from pipeline.config import Config, TrainingConfig
from pipeline.errors import UserError
from pipeline.features import Features
from pipeline.files import sha256_of, write_atomically
from pipeline.gold import GoldLabels, folder_labels
from pipeline.metrics import expected_calibration_error, fit_temperature, gold_accuracy
from pipeline.models.backbone import Split, build_network
from pipeline.models.files import save_model
from pipeline.models.policy import divide_logits, log_policy
from pipeline.optim import adamw, set_lr, warmup_cosine
from pipeline.run_folder import RunFolder
from pipeline.runtime import generator, minibatches
from pipeline.scores import score
from pipeline.stage_lock import one_process
from pipeline.tracking import Metrics
from pipeline.workspace import Workspace, open_workspace


@one_process("reference")
def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/reference/. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("reference")
    ws = open_workspace(config)
    gold = folder_labels(ws.table, ws.classes)
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
            pieces, features = fresh_network(ws)
            temperature = calibration_temperature(ws, rows, labels)
            if len(rows):
                fit_labels(ws, pieces, features, rows, labels, config.reference, metrics)
                divide_logits(pieces, temperature)
    if ws.runtime.is_main:
        save_model(stage.path / "model.safetensors", pieces.network, ws.header("policy"))
        listed = pd.DataFrame(
            {"image": ws.table.ids[labelled], "label": [ws.classes[i] for i in gold.labels[labelled]]}
        )
        write_atomically(stage.path / "labelled.csv", listed.to_csv(index=False).encode())
        result = evaluate(ws, pieces, features, gold) | {
            "temperature": temperature, "labelled_images": len(labelled), "given": config.reference.checkpoint is not None,
        }  # fmt: skip
        stage.finish(inputs, ["model.safetensors", "labelled.csv", "metrics.csv"], {"reference": result})
    ws.runtime.wait()
    return True


def choose_labelled(ws: Workspace, gold: GoldLabels) -> np.ndarray:
    """Row numbers of `labelled_per_class` training images of each class, drawn with the run's seed.

    Raises:
        UserError: a class has fewer labelled training images than that.
    """
    wanted = 0 if ws.config.reference.checkpoint else ws.config.reference.labelled_per_class
    random = generator(ws.config.seed, 1)
    train = ws.table.rows("train")
    chosen = []
    for number, name in enumerate(ws.classes):
        rows = train[gold.labels[train] == number]
        if len(rows) < wanted:
            raise UserError(
                f"reference.labelled_per_class is {wanted}, but class '{name}' has {len(rows)} labelled training images in "
                f"{ws.table.root}; add some in train/{name}/, lower the number (0 starts from no opinion), or give a "
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


def fresh_network(ws: Workspace) -> tuple[Split, Features]:
    return ws.cut(build_network(ws.config.model, len(ws.classes), ws.config.seed))


def fit_labels(
    ws: Workspace,
    pieces: Split,
    features: Features,
    rows: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    metrics: Metrics,
) -> None:
    """Cross-entropy on images `rows` [n] with classes `labels` [n]; changes the suffix in place, leaves it in eval mode.

    Raises:
        UserError: training diverged.
    """
    of_row = torch.zeros(len(features), dtype=torch.long)
    of_row[rows] = labels
    random, augment_random = generator(ws.config.seed, 2), generator(ws.config.seed, 3, ws.runtime.rank)
    suffix, optimiser = (
        ws.runtime.prepare(pieces.suffix),
        adamw(pieces.suffix.parameters(), config.lr, config.weight_decay),
    )
    torch.manual_seed(generator(ws.config.seed, 5).initial_seed())  # dropout, in networks that have it
    total, step = config.epochs * -(-len(rows) // config.batch_size), 0
    suffix.train()
    for epoch in tqdm(range(config.epochs), "reference", unit="epoch", leave=False, disable=None):
        loss_sum = 0.0
        for batch in minibatches(rows, config.batch_size, random):
            set_lr(optimiser, config.lr * warmup_cosine(step, total, config.warmup_fraction))
            part = ws.runtime.share(batch)
            logits = suffix(features.augmented(part, ws.config.images.augment, augment_random))
            loss = (
                cross_entropy(logits, of_row[part].to(logits.device), reduction="sum") * ws.runtime.world / len(batch)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += float(loss.detach()) * len(batch) / ws.runtime.world
            step += 1
        if not math.isfinite(loss_sum):
            raise UserError(
                f"reference.lr: training diverged in epoch {epoch + 1} (the loss is NaN or Inf) with {config.lr:g}; lower it"
            )
        metrics.add(epoch=epoch + 1, loss=loss_sum / len(rows), lr=optimiser.param_groups[0]["lr"])
    pieces.suffix.eval()


def calibration_temperature(ws: Workspace, rows: Tensor, labels: Tensor) -> float:
    """Temperature fitted on held-out folds of the labelled images; 1 where the configuration asks for none."""
    folds = min(ws.config.reference.calibration_folds, int(labels.bincount().min()) if len(labels) else 0)
    if folds < 2:
        return 1.0
    order = torch.argsort(torch.rand(len(rows), generator=generator(ws.config.seed, 4)))
    order = order[torch.argsort(labels[order], stable=True)]  # each fold gets its share of each class
    logits = torch.zeros(len(rows), len(ws.classes))
    for fold in range(folds):
        held = torch.zeros(len(rows), dtype=torch.bool)
        held[order[fold::folds]] = True
        pieces, features = fresh_network(ws)
        fit_labels(ws, pieces, features, rows[~held], labels[~held], ws.config.reference, Metrics(None))
        logits[held] = score(pieces.suffix, features, rows[held])
    return fit_temperature(logits, labels)


def evaluate(ws: Workspace, pieces: Split, features: Features, gold: GoldLabels) -> dict[str, Any]:
    """Accuracy, log loss and calibration on the evaluation images that have gold labels."""
    log_probs = log_policy(ws.scores(pieces, features))
    rows = ws.table.rows("evaluation")
    known = rows[gold.known[rows]]
    if not len(known):
        return {"accuracy": None, "log_loss": None, "ece": None}
    labels = torch.from_numpy(gold.labels[known])
    return {
        "accuracy": gold_accuracy(log_probs, gold, rows),
        "log_loss": float(-log_probs[known].gather(1, labels[:, None]).mean()),
        "ece": expected_calibration_error(log_probs[known], labels),
    }


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    made = summary["reference"]
    accuracy = "no true labels to test on" if made["accuracy"] is None else f"accuracy {made['accuracy']:.1%}"
    if not made["labelled_images"] and not made["given"]:
        accuracy = "no opinion: every class is equally likely"
    return click.style("reference", bold=True) + f"  {accuracy}, {made['labelled_images']} labelled images"
