"""The networks that stage 1b trains: the ensemble, the learning curve's, and those of folds (docs/method.md 1)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from pipeline.config import parse_config
from pipeline.data.feature_cache import Features
from pipeline.models.backbone import Split, build_network
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.fit import Member, bootstrap_by_image, fit
from stages.reward.judgment_set import JudgmentSet, read_judgments, split_by_image

# Member numbers, for random streams, of the first network of the learning curve and of the folds.
FIRST_CURVE_MEMBER = 1000
FIRST_FOLD_MEMBER = 3000


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


def fit_fold(ws: Workspace, judgments: JudgmentSet, number: int) -> Tensor:
    """Utilities [N, C] of a network trained on a part of the judgments, some of them held out as in `run`."""
    random = generator(ws.config.seed, Stream.KL_WEIGHT_FOLDS, number)
    train, heldout = split_by_image(judgments, ws.config.reward.heldout_fraction, random)
    member = FIRST_FOLD_MEMBER + number
    fitted = fit(
        ws, *start(ws), train=train, heldout=heldout, metrics=Metrics(None), member=member, note=f", fold {number + 1}"
    )
    return ws.scores(fitted.pieces, fitted.features)


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


def fit_policy(ws: Workspace, pieces: Split, features: Features, stream: int, images: int | None = None) -> int:
    """Fit the suffix of `pieces` to the reward model's judgments, with the same split and settings.

    Args:
        stream: member number for its random streams, different from those of the ensemble.
        images: train for as many epochs as that many images take, without early stopping; default: the settings' epochs.

    Returns:
        Number of images trained on, summed over epochs.
    """
    config = ws.config.reward
    judgments = read_judgments(ws.run.open_store(), ws.table.position, ws.classes, config.objective)
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
