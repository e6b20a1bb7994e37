"""Stage 1b: the reward model, and the card with its evaluation.

Maximum likelihood of the judgments under one utility, with early stopping on judgments held out by image; the result is
centred and scaled with the reference (docs/method.md 1, 2 and 8).
"""

from __future__ import annotations

from typing import Any

import click
import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.data.feature_cache import Features
from pipeline.data.gold_labels import read_gold_labels
from pipeline.errors import UserError
from pipeline.learning.statistics import gold_accuracy
from pipeline.models.backbone import Split, build_network
from pipeline.models.reward_model import RewardModel
from pipeline.run import next_command
from pipeline.run.atomic_files import sha256_of, write_atomically, write_json
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import Stream, generator
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reward.card import card_html, make_card
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.fit import Member, bootstrap_by_image, fit
from stages.reward.judgment_set import JudgmentSet, read_judgments, split_by_image

FIRST_CURVE_MEMBER = 1000  # member number, for random streams, of the learning curve's first network


@one_process("reward")
def run(config: Config, force: bool = False) -> bool:
    """Train runs/<name>/reward/; returns False if it is up to date."""
    stage = RunFolder(config).stage("reward")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    store = ws.run.open_store()
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
    judgments = read_judgments(store, ws.table.position, ws.classes, config.reward.objective)
    train, heldout = split_by_image(
        judgments, config.reward.heldout_fraction, generator(config.seed, Stream.HELDOUT_SPLIT)
    )
    if ws.runtime.is_main:
        stage.begin()
    with stage.metrics(inputs, ws.runtime) as metrics:
        members = train_members(ws, train, heldout, metrics=metrics, checkpoints=checkpoints)
        curve = learning_curve(ws, train, heldout, members=members, metrics=metrics, checkpoints=checkpoints)
    utilities = [ws.scores(member.pieces, member.features) for member in members]
    model = build_reward_model(ws, members, utilities)
    if ws.runtime.is_main:
        model.save(stage.path / "model.safetensors", ws.header("reward"))
        gold = read_gold_labels(ws.table, ws.classes)
        rewards = model.rewards(utilities, ws.log_reference)
        argmax = gold_accuracy(rewards, gold, ws.table.rows("evaluation"))
        card = make_card(
            ws,
            model,
            members,
            utilities,
            heldout=heldout,
            judgments=judgments,
            curve=curve,
            argmax_accuracy=argmax,
        )
        write_json(stage.path / "card.json", card)
        write_atomically(stage.path / "card.html", card_html(ws, card).encode())
        stage.finish(inputs, ["model.safetensors", "metrics.csv", "card.json", "card.html"], {"reward": _summary(card)})
        checkpoints.clear()
    ws.runtime.wait()
    return True


def start(ws: Workspace) -> tuple[Split, Features]:
    """The network every member starts from: the reference's weights, or the backbone's."""
    if ws.config.reward.start == "reference":
        return ws.cut(ws.load_policy(ws.run.require("reference", "model.safetensors")))
    return ws.cut(build_network(ws.config.model, len(ws.classes), ws.config.seed))


def train_members(
    ws: Workspace, train: JudgmentSet, heldout: JudgmentSet, *, metrics: Metrics, checkpoints: Checkpoints
) -> list[Member]:
    """Train the ensemble; with several members, each on a bootstrap sample of the images."""
    count = ws.config.reward.members
    members = []
    for number in range(count):
        own = train if count == 1 else bootstrap_by_image(train, generator(ws.config.seed, Stream.BOOTSTRAP, number))
        note = f" {number + 1}/{count}" if count > 1 else ""
        with checkpoints.of(f"member-{number}") as saved:
            member = fit(
                ws,
                *start(ws),
                train=own,
                heldout=heldout,
                metrics=metrics,
                member=number,
                note=note,
                checkpoints=saved,
            )
            members.append(member)
    return members


def learning_curve(
    ws: Workspace,
    train: JudgmentSet,
    heldout: JudgmentSet,
    *,
    members: list[Member],
    metrics: Metrics,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Held-out accuracy of networks trained on the judgments of a share of the images, and of all images."""
    points = []
    order = torch.unique(train.rows_a)
    order = order[torch.randperm(len(order), generator=generator(ws.config.seed, Stream.LEARNING_CURVE))]
    for number, share in enumerate(sorted(ws.config.reward.curve)):
        some = train.pick(torch.isin(train.rows_a, order[: max(1, round(share * len(order)))]))
        if len(some) and len(some) < len(train):
            note = f", {share:.0%} of judgments"
            with checkpoints.of(f"curve-{number}") as saved:
                smaller = fit(
                    ws,
                    *start(ws),
                    train=some,
                    heldout=heldout,
                    metrics=metrics,
                    member=FIRST_CURVE_MEMBER + number,
                    note=note,
                    checkpoints=saved,
                )
            points.append(_point([smaller], some, heldout))
    points.append(_point(members, train, heldout))
    return points


def fit_policy(ws: Workspace, pieces: Split, features: Features, stream: int) -> int:
    """Fit the suffix of `pieces` to the reward model's judgments, with the same split and settings.

    Args:
        stream: member number for its random streams, different from those of the ensemble.

    Returns:
        Number of images trained on, summed over epochs.
    """
    config = ws.config.reward
    judgments = read_judgments(ws.run.open_store(), ws.table.position, ws.classes, config.objective)
    train, heldout = split_by_image(judgments, config.heldout_fraction, generator(ws.config.seed, Stream.HELDOUT_SPLIT))
    metrics = Metrics(None)
    fit(ws, pieces, features, train=train, heldout=heldout, metrics=metrics, member=stream, note=", as a policy")
    return len(metrics.rows) * len(train.images)


def _point(members: list[Member], train: JudgmentSet, heldout: JudgmentSet) -> dict[str, float]:
    images = heldout.images
    p = predict(members, [member.utilities(images) for member in members], images, heldout)
    accuracy, low, high = accuracy_interval(p.correct, p.image)
    return {"judgments": len(train), "accuracy": accuracy, "low": low, "high": high}


def build_reward_model(ws: Workspace, members: list[Member], utilities: list[Tensor]) -> RewardModel:
    """The reward model of these members, scaled on the training images.

    Raises:
        UserError: a member's utilities are NaN or Inf, or all equal.
    """
    rows = ws.rows("train")
    if not all(bool(torch.isfinite(u).all()) for u in utilities):
        raise UserError("reward.lr: training diverged (utilities are NaN or Inf); lower it")
    tie = sum(member.latent.nu for member in members) / len(members)
    networks = [member.pieces.network for member in members]
    model = RewardModel.fitted(
        networks,
        [u[rows] for u in utilities],
        ws.log_reference[rows],
        tie=tie,
        pessimism=ws.config.reward.pessimism,
    )
    if not model.scale > 0:
        raise UserError(
            "the reward model gives every class of every image the same utility: the judgments do not distinguish classes; "
            f"run `{next_command.make('collect')}` for more"
        )
    return model


def _summary(card: dict[str, Any]) -> dict[str, Any]:
    """The card's entries in summary.json."""
    heldout, learned = card["heldout"], card["learned"]
    return {
        "verdict": card["verdict"]["short"],
        "heldout_accuracy": heldout["accuracy"],
        "heldout_interval": [heldout["low"], heldout["high"]],
        "heldout_judgments": heldout["judgments"],
        "heldout_log_loss": heldout["log_loss"],
        "chance": heldout["chance"],
        "ece": card["calibration"]["after"]["ece"],
        "best_epoch": learned["epochs"][0],
        "scale": learned["scale"],
        "tie": learned["tie"],
        "judgments_used": card["judgments"]["used"],
        "judgments_of_missing_images": card["judgments"]["of_missing_images"],
        "argmax_accuracy": card["gold"]["argmax_accuracy"],
    }


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
