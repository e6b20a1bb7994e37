"""Stage 1b: the reward model, and the card with its evaluation.

Maximum likelihood of the judgments under one utility, with early stopping on judgments held out by image; the result is
centred and scaled with the reference (docs/method.md 1, 2 and 8).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click
import numpy as np
import torch

from pipeline.config import Config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.errors import UserError
from pipeline.learning.audited_accuracy import audited_accuracy
from pipeline.learning.reward_card import CardItems, Evaluated
from pipeline.learning.statistics import gold_accuracy
from pipeline.models.adapters import merged
from pipeline.models.reward_model import RewardModel, share_of
from pipeline.run import next_command
from pipeline.run.atomic_files import sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.ui.html import thumbnail
from stages.reward.card import make_card, save_card, summarise
from stages.reward.judgment_set import read_judgments
from stages.reward.kl_weight import Evidence, choose
from stages.reward.known_labels import known_labels
from stages.reward.trained import Trained
from stages.reward.training import train_reward


@one_process("reward")
def run(config: Config, force: bool = False) -> bool:
    """Train runs/<name>/reward/; returns False if it is up to date."""
    stage = RunFolder(config).stage("reward")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    store = ws.run.open_store().snapshot()  # people may go on answering
    if store.is_empty():
        raise UserError(
            f"no judgments: {store.location}; run `{next_command.make('collect')}` first (run '{config.name}')"
        )
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference), **ws.weights_input()}
    inputs |= store.fingerprint()
    checkpoints = stage.checkpoints(inputs, "epoch", ws.runtime, force)
    if stage.is_current(inputs) and not force:
        checkpoints.clear()
        return False
    judgments = read_judgments(store, ws.table.position, ws.classes, config.reward.objective, known_labels(ws))
    if ws.runtime.is_main:
        stage.begin()
    with stage.metrics(inputs, ws.runtime) as metrics:
        trained = train_reward(ws, judgments, metrics=metrics, checkpoints=checkpoints)
    model = build_reward_model(ws, trained)
    if ws.runtime.is_main:
        gold, evaluation = read_gold_labels(ws.table, ws.classes), ws.table.rows("evaluation")
        accuracy = partial(gold_accuracy, gold=gold, rows=evaluation)
        weight = weigh(ws, model, trained) if model.nats else None  # in unit scale there is no natural beta
        model.save(stage.path / "model.safetensors", ws.header("reward"))
        argmax = accuracy(model.utilities(trained.utilities, ws.log_reference))
        items = card_items(ws)
        card = make_card(items, evaluated(ws, model, trained), judgments, argmax_accuracy=argmax, kl_weight=weight)
        card["audit"] = audit(ws, model, trained, weight)
        save_card(stage.path, items, card)
        outputs = ["model.safetensors", "metrics.csv", "card.json", "card.html"]
        stage.finish(inputs, outputs, {"reward": summarise(card)})
        checkpoints.clear()
    ws.runtime.wait()
    return True


def build_reward_model(ws: Workspace, trained: Trained) -> RewardModel:
    """The reward model of the ensemble, scaled on the training images.

    Raises:
        UserError: a member's utilities are NaN or Inf, or all equal.
    """
    rows, members, utilities = ws.rows("train"), trained.members, trained.utilities
    if not all(bool(torch.isfinite(u).all()) for u in utilities):
        raise UserError("reward.lr: training diverged (utilities are NaN or Inf); lower it")
    tie = sum(member.latent.nu for member in members) / len(members)
    networks = [merged(member.pieces.network) for member in members]
    model = RewardModel.fitted(
        networks,
        [u[rows] for u in utilities],
        ws.log_reference[rows],
        tie=tie,
        pessimism=ws.config.reward.pessimism,
        nats=ws.config.reward.scale == "nats",
    )
    if not model.scale > 0:
        raise UserError(
            "the reward model gives every class of every image the same utility: the judgments do not distinguish classes; "
            f"run `{next_command.make('collect')}` for more"
        )
    return model


def weigh(ws: Workspace, model: RewardModel, trained: Trained) -> dict[str, Any]:
    """Choose beta and how often the reference counts, which is stored in the model; the card's entry about both."""
    evidence, rows = gather_evidence(ws, model, trained), ws.table.rows("evaluation")
    log_ref, utility = evidence.log_ref[rows], evidence.utility[rows]
    known = read_gold_labels(ws.table, ws.classes).of_rows(rows)

    def accuracy(weight: float, beta: float) -> float | None:
        return gold_accuracy(weight * log_ref + utility / beta, known, np.arange(len(rows)))

    chosen = choose(evidence, ws.config.reward, accuracy)
    model.prior_weight.fill_(chosen["prior_weight"])
    return chosen


def audit(ws: Workspace, model: RewardModel, trained: Trained, weight: dict[str, Any] | None) -> dict[str, Any] | None:
    """The accuracy that audit answers tell of pi* at the chosen beta, or of the highest utility without one; None without any."""
    utility = model.utilities(trained.utilities, ws.log_reference)
    logits = utility if weight is None else weight["prior_weight"] * ws.log_reference + utility / weight["beta"]
    return audited_accuracy(ws, logits.argmax(-1), read_gold_labels(ws.table, ws.classes))


def gather_evidence(ws: Workspace, model: RewardModel, trained: Trained) -> Evidence:
    """What beta is chosen from: judgments with rewards that were not trained on them."""
    log_ref, rows, share = ws.log_reference, ws.rows("train"), 0.0
    if ws.config.reward.start == "reference":
        share = share_of(log_ref[rows], model.utilities(trained.utilities, log_ref)[rows])
    utility = model.utilities(trained.heldout_utilities, log_ref)
    return Evidence(trained.heldout, log_ref, utility, trained.folds, share)


def card_items(ws: Workspace) -> CardItems:
    """What the card needs to know of the run and its images."""
    table, limit = ws.table, ws.config.images.max_pixels
    return CardItems(
        ws.config.name,
        ws.config.seed,
        ws.config.reward,
        ws.classes,
        table.ids,
        table.paths,
        thumbnail=lambda image: thumbnail(table, image, limit),
    )


def evaluated(ws: Workspace, model: RewardModel, trained: Trained) -> Evaluated:
    """What the card needs to know of the ensemble."""
    return Evaluated(
        trained.members,
        model.utilities(trained.heldout_utilities, ws.log_reference),
        trained.heldout,
        trained.heldout_utilities,
        trained.curve,
        scale=float(model.scale * model.scales.mean()),
        tie=float(model.tie),
        folds=trained.folds,
        prior_sd=trained.prior_sd,
        unlabelled=trained.unlabelled,
    )


def describe(summary: dict[str, Any]) -> str:
    """Two lines for the terminal: the figures, and the verdict."""
    result = summary["reward"]
    argmax = "" if result["argmax_accuracy"] is None else f", argmax accuracy {result['argmax_accuracy']:.1%}"
    low, high = result["heldout_interval"]
    return (
        click.style("reward model", bold=True)
        + f"  agrees with {result['heldout_accuracy']:.1%} [{low:.1%}, {high:.1%}] of {result['heldout_judgments']} held-out "
        f"judgments (chance {result['chance']:.1%}){argmax}\n              {result['verdict']}; see {summary['folder']}/reward/card.html"
    )
