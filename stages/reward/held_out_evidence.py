"""Judgments, and utilities of their images by networks that were not trained on them (docs/method.md 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.models.reward_model import RewardModel, share_of
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import Evidence

FOLDS = 5

FitFold = Callable[[JudgmentSet, int], Tensor]  # judgments, number of the fold -> utilities [N, C] of all images


def gather_evidence(
    ws: Workspace,
    model: RewardModel,
    utilities: Sequence[Tensor],
    *,
    judgments: JudgmentSet,
    heldout: JudgmentSet,
    fit_fold: FitFold,
) -> Evidence | None:
    """What beta is chosen from; None for rewards in unit scale, for which there is no natural beta.

    A single head is trained again for each of five folds of the images, which takes seconds and uses every judgment. Whole
    networks and ensembles are judged by the held-out split of their own training.

    Args:
        utilities: [N, C] of all images, one per member of the model.
        heldout: the held-out split.
    """
    if not model.nats:
        return None
    log_ref, rows = ws.log_reference, ws.rows("train")
    utility = model.utilities(utilities, log_ref)
    share = share_of(log_ref[rows], utility[rows]) if ws.config.reward.start == "reference" else 0.0
    if ws.config.model.trainable == "head" and len(utilities) == 1:
        random = generator(ws.config.seed, Stream.KL_WEIGHT_FOLDS)
        tested, table = cross_fit(judgments, FOLDS, random, fit_fold)
        if table is not None:
            return Evidence(tested, log_ref, model.utilities([table], log_ref), FOLDS, share)
    return Evidence(heldout, log_ref, utility, 0, share)


def cross_fit(
    judgments: JudgmentSet, folds: int, random: torch.Generator, fit_fold: FitFold
) -> tuple[JudgmentSet, Tensor | None]:
    """Utilities of every image by a network that was trained without it.

    Args:
        folds: of the images.

    Returns:
        The judgments whose images are all in one fold, and utilities [N, C], in which only rows of their images count; no
        utilities if there are too few judgments for any fold.
    """
    images = judgments.images
    tested = torch.zeros(len(judgments), dtype=torch.bool)
    table: Tensor | None = None
    for number, fold in enumerate(images[torch.randperm(len(images), generator=random)].tensor_split(folds)):
        inside = torch.isin(judgments.rows, fold)
        if not inside.all(1).any() or inside.any(1).all():
            continue
        try:
            utilities = fit_fold(judgments.pick(~inside.any(1)), number)
        except UserError:  # too few judgments outside this fold
            continue
        table = torch.zeros_like(utilities) if table is None else table
        table[fold] = utilities[fold]
        tested |= inside.all(1)
    return judgments.pick(tested), table
