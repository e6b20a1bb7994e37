"""The networks that stage 1b trains: the ensemble, and the learning curve's (docs/method.md 1)."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import torch

from pipeline.config import parse_config
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.laplace import log_mean_probability
from pipeline.learning.linear_heads import solvable
from pipeline.models.backbone import Split
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.fit import Member, fit
from stages.reward.folds import bootstrap_by_image, split_by_image
from stages.reward.head_teaching import possible_teaching
from stages.reward.heads import train_heads
from stages.reward.judgment_set import JudgmentSet, read_judgments
from stages.reward.kl_weight import log_loss
from stages.reward.known_labels import known_labels
from stages.reward.likelihood_parameters import LikelihoodParameters
from stages.reward.refit import refitted
from stages.reward.teaching import Teaching, candidates, methods
from stages.reward.trained import Trained

# Member number, for random streams, of the first network of the learning curve.
FIRST_CURVE_MEMBER = 1000


def start(ws: Workspace) -> tuple[Split, Features]:
    """The network every member starts from: the reference's weights, or the backbone's."""
    if ws.config.reward.start == "reference":
        return ws.cut(ws.load_policy(ws.run.require("reference", "model.safetensors")), train=True)
    return ws.cut(ws.build(), train=True)


def train_reward(ws: Workspace, judgments: JudgmentSet, *, metrics: Metrics, checkpoints: Checkpoints) -> Trained:
    """Train the reward model as `reward.optimiser` says.

    Raises:
        UserError: `lbfgs` or balance for more than a linear head; consistency with a frozen part; too few judgments; training diverged.
    """
    config, trainable = ws.config.reward, ws.config.model.trainable
    wanted = config.optimiser
    if wanted == "lbfgs" and trainable != "head":
        raise UserError(
            f"reward.optimiser: lbfgs fits linear heads, and model.trainable is '{trainable}'; set model.trainable to head, or "
            "reward.optimiser to adamw"
        )
    if config.unlabelled == "consistency" and trainable != "all":
        raise UserError(
            "reward.unlabelled: consistency changes images, which only a network without a frozen part sees; set model.trainable "
            "to all, or reward.unlabelled to propagate"
        )
    if wanted != "adamw" and trainable == "head":
        pieces, features = start(ws)
        teaching = possible_teaching(ws, features, judgments.images)
        if wanted == "lbfgs" or solvable(features, teaching.images, len(ws.classes)):
            return train_heads(ws, pieces.network, features, judgments, metrics, teaching)
    if config.unlabelled == "balance":
        raise UserError(
            "reward.unlabelled: balance is for linear heads that are fitted exactly; set model.trainable to head and "
            "reward.optimiser to lbfgs, or reward.unlabelled to propagate"
        )
    return train_networks(ws, judgments, metrics=metrics, checkpoints=checkpoints)


def train_networks(ws: Workspace, judgments: JudgmentSet, *, metrics: Metrics, checkpoints: Checkpoints) -> Trained:
    """Train by AdamW, with a share of the judgments held out by image."""
    config = ws.config
    train, heldout = split_by_image(
        judgments, config.reward.heldout_fraction, generator(config.seed, Stream.HELDOUT_SPLIT)
    )
    members, unlabelled = best_members(ws, train, heldout, metrics=metrics, checkpoints=checkpoints)
    curve = learning_curve(
        ws, train, heldout, members=members, unlabelled=unlabelled, metrics=metrics, checkpoints=checkpoints
    )
    utilities = [ws.scores(member.pieces, member.features) for member in members]
    trained = Trained(members, utilities, heldout, utilities, curve, unlabelled=unlabelled)
    teaching = methods.get(unlabelled).prepare(ws, members[0].features, judgments)
    return refitted(ws, trained, judgments, teaching, lambda: start(ws)) if teaching else trained


def best_members(
    ws: Workspace, train: JudgmentSet, heldout: JudgmentSet, *, metrics: Metrics, checkpoints: Checkpoints
) -> tuple[list[Member], str]:
    """The ensemble, and what images that nobody judged teach it: with `auto`, what held-out judgments prefer."""
    features, parameters = start(ws)[1], LikelihoodParameters(heldout, ws.config.reward, mistakes=True).double()
    names = candidates(ws)
    found: list[tuple[float, list[Member], str]] = []
    for name in names:
        teaching = methods.get(name).prepare(ws, features, train)
        with checkpoints.of(name) if len(names) > 1 else nullcontext(checkpoints) as saved:
            members = train_members(ws, train, heldout, metrics=metrics, checkpoints=saved, teaching=teaching)
        log_p = log_mean_probability(
            torch.stack([torch.log_softmax(one.utilities(heldout.images).double(), -1) for one in members])
        )
        found.append((float(log_loss(log_p, heldout, parameters).sum()), members, name))
    _, members, name = min(found, key=lambda one: one[0])
    return members, name


def train_members(
    ws: Workspace,
    train: JudgmentSet,
    heldout: JudgmentSet,
    *,
    metrics: Metrics,
    checkpoints: Checkpoints,
    teaching: Teaching | None = None,
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
                teaching=teaching,
            )
            members.append(member)
    return members


def learning_curve(
    ws: Workspace,
    train: JudgmentSet,
    heldout: JudgmentSet,
    *,
    members: list[Member],
    unlabelled: str,
    metrics: Metrics,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Held-out accuracy of networks trained on the judgments of a share of the images, and of all images.

    Args:
        unlabelled: what images that nobody judged teach, a value of `reward.unlabelled`.
    """
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
                    teaching=methods.get(unlabelled).prepare(ws, members[0].features, some),
                )
            points.append(_point([smaller], some, heldout))
    points.append(_point(members, train, heldout))
    return points


def fit_policy(ws: Workspace, pieces: Split, features: Features, stream: int, images: int | None = None) -> int:
    """Fit the suffix of `pieces` to the reward model's judgments, with the same split and settings.

    Args:
        stream: member number for its random streams, different from those of the ensemble.
        images: train for as many epochs as that many images take, without early stopping; default: the settings' epochs.

    Returns:
        Number of images trained on, summed over epochs.
    """
    config = ws.config.reward
    store, known = ws.run.open_store(), known_labels(ws)
    judgments = read_judgments(store, ws.table.position, ws.classes, config.objective, known)
    train, heldout = split_by_image(judgments, config.heldout_fraction, generator(ws.config.seed, Stream.HELDOUT_SPLIT))
    if images is not None:
        epochs = max(1, round(images / len(train.images)))
        tree = ws.config.model_dump(mode="json")
        tree["reward"] |= {"epochs": epochs, "patience": epochs}
        ws = dataclasses.replace(ws, config=parse_config(tree, "compare"))
    metrics = Metrics(None)
    fit(ws, pieces, features, train=train, heldout=heldout, metrics=metrics, member=stream, note=", as a policy")
    return len(metrics.rows) * len(train.images)


def _point(members: list[Member], train: JudgmentSet, heldout: JudgmentSet) -> dict[str, float]:
    images = heldout.images
    p = predict(members, [member.utilities(images) for member in members], images, heldout)
    accuracy, low, high = accuracy_interval(p.correct, p.image)
    return {"judgments": len(train), "accuracy": accuracy, "low": low, "high": high}
