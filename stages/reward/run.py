"""Stage one, second half: the reward model.

Maximum likelihood of the judgments under one utility, split by image, stopped where the held-out likelihood is best,
then centred and scaled with the reference (METHOD 1 and 2).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import click
import torch
from torch import Tensor, nn
from tqdm import tqdm

from feedback_store.errors import FeedbackError
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.features import Features
from pipeline.files import sha256_of
from pipeline.gold import folder_labels
from pipeline.metrics import gold_accuracy, wilson_interval
from pipeline.models.backbone import Split, build_network
from pipeline.models.reward_model import RewardModel, reference_scale
from pipeline.optim import adamw, set_lr, warmup_cosine
from pipeline.run_folder import RunFolder
from pipeline.runtime import generator
from pipeline.scores import score
from pipeline.tracking import Metrics
from pipeline.workspace import Workspace, open_workspace
from stages.reward.judgment_set import JudgmentSet, read_judgments, split_by_image
from stages.reward.likelihoods import TIE, A, B, bradley_terry, davidson, label_choice


def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/reward/. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("reward")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    store = FeedbackStore(ws.run.feedback)
    if not store.files:
        raise UserError(f"{store.pairwise.path} is missing: run `make collect` first (run '{config.name}')")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference), **ws.weights_input()}
    inputs |= {path.name: sha256_of(path) for path in store.files}
    if stage.is_current(inputs) and not force:
        return False
    try:
        judgments = read_judgments(store, ws.table.position, ws.classes, config.reward.objective)
    except FeedbackError as error:
        raise UserError(str(error)) from error
    train, heldout = split_by_image(judgments, config.reward.heldout_fraction, generator(config.seed, 20))
    if ws.runtime.is_main:
        stage.begin()
    pieces, features = _start(ws)
    with Metrics(stage.path / "metrics.csv" if ws.runtime.is_main else None) as metrics:
        fitted = fit(ws, pieces, features, train, heldout, metrics)
    utilities = ws.scores(pieces, features)
    rows = ws.rows("train")
    scale = reference_scale(utilities[rows], ws.log_reference[rows])
    if not scale > 0:
        raise UserError(
            "the reward model gives every class of every image the same utility: the judgments taught it nothing"
        )
    if ws.runtime.is_main:
        RewardModel(pieces.network, scale, fitted.tie).save(stage.path / "model.safetensors", ws.header("reward"))
        correct, total = heldout_accuracy(score(pieces.suffix, features, heldout.images), heldout)
        result = {
            "heldout_accuracy": correct / total if total else None,
            "heldout_interval": wilson_interval(correct, total) if total else None,
            "heldout_judgments": total,
            "heldout_log_loss": fitted.log_loss,
            "best_epoch": fitted.epoch,
            "scale": scale,
            "tie": fitted.tie,
            "judgments_used": len(judgments),
            "judgments_of_missing_images": judgments.unknown,
            "argmax_accuracy": gold_accuracy(
                utilities, folder_labels(ws.table, ws.classes), ws.table.rows("evaluation")
            ),
        }
        stage.finish(inputs, ["model.safetensors", "metrics.csv"], {"reward": result})
    ws.runtime.wait()
    return True


def _start(ws: Workspace) -> tuple[Split, Features]:
    if ws.config.reward.start == "reference":
        return ws.cut(ws.load_policy(ws.run.require("reference", "model.safetensors")))
    return ws.cut(build_network(ws.config.model, len(ws.classes), ws.config.seed))


@dataclass(frozen=True)
class Fitted:
    """What training ended with: the best epoch, its held-out log loss a judgment, and Davidson's nu."""

    epoch: int
    log_loss: float
    tie: float


def fit(
    ws: Workspace, pieces: Split, features: Features, train: JudgmentSet, heldout: JudgmentSet, metrics: Metrics
) -> Fitted:
    """Maximise the likelihood; leaves in `pieces` the weights of the epoch with the best held-out likelihood."""
    config = ws.config.reward
    random, augment_random = generator(ws.config.seed, 21), generator(ws.config.seed, 22, ws.runtime.rank)
    ties = bool((train.choice == TIE).any() or (heldout.choice == TIE).any())
    log_nu = nn.Parameter(torch.tensor(-1.0)) if ties else None
    suffix = ws.runtime.prepare(pieces.suffix)
    optimiser = adamw(pieces.suffix.parameters(), config.lr, config.weight_decay)
    if log_nu is not None:
        optimiser.add_param_group({"params": [log_nu], "weight_decay": 0.0})
    per_epoch = sum(1 for _ in train.batches(config.batch_size, generator(0)))
    total, step = config.epochs * per_epoch, 0
    best = Fitted(0, mean_nll(score(pieces.suffix, features, heldout.images), heldout, log_nu), _tie(log_nu))
    best_weights = copy.deepcopy(pieces.suffix.state_dict())
    for epoch in tqdm(range(1, config.epochs + 1), "reward model", unit="epoch", leave=False, disable=None):
        loss_sum = 0.0
        for batch in train.batches(config.batch_size, random):
            set_lr(optimiser, config.lr * warmup_cosine(step, total, config.warmup_fraction))
            step += 1
            part = batch.share(ws.runtime.rank, ws.runtime.world)
            images = part.images
            suffix.train(len(images) > 1)  # BatchNorm cannot train on one image
            utilities = suffix(features.augmented(images, ws.config.images.augment, augment_random))
            log_p = log_likelihood(utilities, images, part, log_nu, config.label_smoothing)
            loss = -log_p.sum() * ws.runtime.world / len(batch)
            optimiser.zero_grad()
            loss.backward()
            if log_nu is not None and log_nu.grad is not None:  # DistributedDataParallel knows the network only
                log_nu.grad = ws.runtime.total(log_nu.grad) / ws.runtime.world
            optimiser.step()
            loss_sum += float(loss.detach()) * len(batch) / ws.runtime.world
        log_loss = mean_nll(score(pieces.suffix, features, heldout.images), heldout, log_nu)
        metrics.add(
            epoch=epoch,
            train_log_loss=loss_sum / len(train),
            heldout_log_loss=log_loss,
            lr=optimiser.param_groups[0]["lr"],
        )
        if log_loss < best.log_loss:
            best, best_weights = Fitted(epoch, log_loss, _tie(log_nu)), copy.deepcopy(pieces.suffix.state_dict())
        elif epoch - best.epoch >= config.patience:
            break
    pieces.suffix.load_state_dict(best_weights)
    pieces.suffix.eval()
    return best


def _tie(log_nu: Tensor | None) -> float:
    return 0.0 if log_nu is None else float(log_nu.detach().exp())


def log_likelihood(
    utilities: Tensor, images: Tensor, judgments: JudgmentSet, log_nu: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """log P of every judgment, [len(judgments)].

    Args:
        utilities: [U, C] of the images given.
        images: [U] their rows, ascending.
        log_nu: log of Davidson's nu; None for Bradley-Terry without ties.
    """
    j = judgments
    at_a, at_b, at = (torch.searchsorted(images, rows) for rows in (j.rows_a, j.rows_b, j.rows))
    r_a, r_b = utilities[at_a, j.class_a], utilities[at_b, j.class_b]
    choice = j.choice.to(utilities.device)
    compared = bradley_terry(r_a, r_b, choice) if log_nu is None else davidson(r_a, r_b, choice, log_nu.to(r_a.device))
    return torch.cat([compared, label_choice(utilities[at], j.answer.to(utilities.device), smoothing)])


def mean_nll(utilities: Tensor, judgments: JudgmentSet, log_nu: Tensor | None) -> float:
    """Mean negative log-likelihood of judgments, in nats; utilities [U, C] of `judgments.images`."""
    with torch.no_grad():
        return float(-log_likelihood(utilities, judgments.images, judgments, log_nu).mean())


def heldout_accuracy(utilities: Tensor, judgments: JudgmentSet) -> tuple[int, int]:
    """How many held-out answers the model's preferred answer equals, and of how many; ties are left out."""
    images, j = judgments.images, judgments
    r_a = utilities[torch.searchsorted(images, j.rows_a), j.class_a]
    r_b = utilities[torch.searchsorted(images, j.rows_b), j.class_b]
    decided = j.choice != TIE
    pairs = (torch.where(r_a > r_b, A, B) == j.choice)[decided]
    labels = utilities[torch.searchsorted(images, j.rows)].argmax(-1) == j.answer
    return int(pairs.sum() + labels.sum()), int(decided.sum()) + len(labels)


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    made = summary["reward"]
    argmax = "" if made["argmax_accuracy"] is None else f", argmax accuracy {made['argmax_accuracy']:.1%}"
    if made["heldout_interval"] is None:
        agreement = "every held-out judgment is a tie"
    else:
        low, high = made["heldout_interval"]
        agreement = (
            f"agrees with {made['heldout_accuracy']:.1%} [{low:.1%}, {high:.1%}] of {made['heldout_judgments']} "
            "held-out judgments"
        )
    return click.style("reward model", bold=True) + f"  {agreement}{argmax}"
