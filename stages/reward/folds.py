"""Parts and samples of judgments by image: an image's judgments stay together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

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


def folds_by_item(judgments: JudgmentSet, count: int, random: torch.Generator) -> list[Fold]:
    """`folds_by_image` of comparisons of two items: groups of items that were compared with each other stay together.

    So no judgment is lost between two folds, where groups are small, as if each item was compared once. Where a group is
    larger than a fold, items are divided one by one.
    """
    images, group = compared_groups(judgments)
    if int(group.bincount().max()) > max(2, len(images) // count):
        return folds_by_image(judgments, count, random)
    parts = []
    for own in torch.randperm(int(group.max()) + 1, generator=random).tensor_split(count):
        inside = torch.isin(judgments.rows_a, images[torch.isin(group, own)])
        if inside.any() and not inside.all():
            parts.append((judgments.pick(~inside), judgments.pick(inside)))
    return parts


def split_by_item(
    judgments: JudgmentSet, heldout_fraction: float, random: torch.Generator
) -> tuple[JudgmentSet, JudgmentSet]:
    """`split_by_image` of comparisons of two items, with small groups kept together as in `folds_by_item`."""
    images, group = compared_groups(judgments)
    count = int(group.max()) + 1
    if count < 2 or int(group.bincount().max()) > max(2, heldout_fraction * len(images)):
        return split_by_image(judgments, heldout_fraction, random)
    held = min(max(1, round(heldout_fraction * count)), count - 1)
    inside = torch.isin(judgments.rows_a, images[torch.isin(group, torch.randperm(count, generator=random)[:held])])
    return judgments.pick(~inside), judgments.pick(inside)


def compared_groups(judgments: JudgmentSet) -> tuple[Tensor, Tensor]:
    """Judged items [U], ascending, and the number of each item's group: those that comparisons connect."""
    from scipy.sparse import coo_array  # slow to import: only where it is needed
    from scipy.sparse.csgraph import connected_components

    images = judgments.images
    a, b = (torch.searchsorted(images, judgments.rows[:, side].contiguous()).numpy() for side in (0, 1))
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(images), len(images)))
    return images, torch.from_numpy(connected_components(graph, directed=False)[1]).long()


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
