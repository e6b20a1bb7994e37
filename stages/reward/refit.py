"""Networks that are trained once more on all judgments, after judgments that were held out have evaluated them.

Where few answers are spread to all images (`reward.unlabelled`), a fifth of them is too much to lose. How long to train is
known by then: as many epochs as the evaluated network took to its best one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from pipeline.config import parse_config
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.models.backbone import Split
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from stages.reward.fit import Learner, train_epoch
from stages.reward.folds import bootstrap_by_image
from stages.reward.judgment_set import JudgmentSet
from stages.reward.teaching import Teaching
from stages.reward.trained import Trained

FIRST_REFIT_MEMBER = 2000  # member number, for random streams, of the first network that is trained again


def refitted(
    ws: Workspace,
    trained: Trained,
    judgments: JudgmentSet,
    teaching: Teaching,
    start: Callable[[], tuple[Split, Features]],
) -> Trained:
    """The ensemble trained again on all judgments; held-out predictions and likelihood parameters stay those of `trained`.

    Args:
        trained: evaluated on held-out judgments.
        judgments: all, those that were held out among them.
        teaching: what images that nobody judged teach, given all of these.
        start: makes the network that every member starts from.

    Raises:
        UserError: training diverged.
    """
    count, members = len(trained.members), []
    for number, evaluated in enumerate(trained.members):
        number += FIRST_REFIT_MEMBER
        sample = judgments
        if count > 1:
            sample = bootstrap_by_image(judgments, generator(ws.config.seed, Stream.BOOTSTRAP, number))
        pieces, features = start()
        train_for(ws, pieces, features, sample, teaching, epochs=evaluated.epoch, member=number)
        members.append(dataclasses.replace(evaluated, pieces=pieces, features=features))
    utilities = [ws.scores(member.pieces, member.features) for member in members]
    return dataclasses.replace(trained, members=members, utilities=utilities)


def train_for(
    ws: Workspace,
    pieces: Split,
    features: Features,
    judgments: JudgmentSet,
    teaching: Teaching,
    *,
    epochs: int,
    member: int,
) -> None:
    """Train the suffix of `pieces` for a number of epochs, to the end of its learning-rate schedule."""
    tree = ws.config.model_dump(mode="json")
    tree["reward"]["epochs"] = epochs
    ws = dataclasses.replace(ws, config=parse_config(tree, "reward"))
    learner = Learner.start(ws, pieces, judgments, member, teaching)
    first = [p.detach().clone() for p in learner.trained()]
    for _ in range(epochs):
        loss = train_epoch(ws, learner, features, train=judgments, start=first)
        if not math.isfinite(loss):
            raise UserError("reward.lr: training on all judgments diverged (the loss is NaN or Inf); lower it")
    pieces.suffix.eval()
