"""Parts and samples of judgments by image: an image's judgments stay together."""

from __future__ import annotations

import torch

from pipeline.errors import UserError
from pipeline.run import next_command
from stages.reward.judgment_set import JudgmentSet

FOLDS = 5
Fold = tuple[JudgmentSet, JudgmentSet]  # judgments to train on, and to test


def folds_by_image(judgments: JudgmentSet, count: int, random: torch.Generator) -> list[Fold]:
    """Judgments without any image of a fold, and those whose images are all in it; folds without either are left out."""
    images = judgments.images
    parts = []
    for fold in images[torch.randperm(len(images), generator=random)].tensor_split(count):
        inside = torch.isin(judgments.rows, fold)
        train, test = judgments.pick(~inside.any(1)), judgments.pick(inside.all(1))
        if len(train) and len(test):
            parts.append((train, test))
    return parts


def bootstrap_by_image(judgments: JudgmentSet, random: torch.Generator) -> JudgmentSet:
    """A bootstrap sample of the images (same number, with replacement), each with all its judgments."""
    distinct, place = torch.unique(judgments.rows_a, return_inverse=True)
    drawn = torch.randint(len(distinct), (len(distinct),), generator=random)
    times = drawn.bincount(minlength=len(distinct))
    return judgments.pick(torch.repeat_interleave(torch.arange(len(judgments)), times[place]))


def split_by_image(
    judgments: JudgmentSet, heldout_fraction: float, random: torch.Generator
) -> tuple[JudgmentSet, JudgmentSet]:
    """Judgments to train on and to hold out; no image is in both.

    Raises:
        UserError: fewer than two judged images.
    """
    images = judgments.images
    if len(images) < 2:
        raise UserError(
            f"too few judgments: two images are needed, one of them held out; run `{next_command.make('collect')}` for more"
        )
    held = min(max(1, round(heldout_fraction * len(images))), len(images) - 1)
    order = images[torch.randperm(len(images), generator=random)]
    train, heldout = judgments.among(order[held:]), judgments.among(order[:held])
    if not len(train) or not len(heldout):
        raise UserError(f"too few judgments to hold some out by image; run `{next_command.make('collect')}` for more")
    return train, heldout
