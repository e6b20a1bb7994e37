"""Parts and samples of judgments by image: an image's judgments stay together."""

from __future__ import annotations

import torch

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
