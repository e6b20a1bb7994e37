"""Stored judgments as tensors of row and class numbers, split by image and batched by image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feedback_store.errors import FeedbackWarning
from feedback_store.judgments import NO_ANSWER
from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from stages.reward.likelihoods import TIE, A, B

CHOICES = {"a": A, "b": B, "tie": TIE}


@dataclass(frozen=True, eq=False)
class JudgmentSet:
    """Answers of both kinds; int64 tensors.

    Attributes:
        rows_a, class_a, rows_b, class_b, choice: [M] comparisons.
        rows, answer: [L] label choices.
        unknown: judgments about images that are not in the table.
    """

    rows_a: Tensor
    class_a: Tensor
    rows_b: Tensor
    class_b: Tensor
    choice: Tensor
    rows: Tensor
    answer: Tensor
    unknown: int = 0

    def __len__(self) -> int:
        return len(self.choice) + len(self.answer)

    @property
    def images(self) -> Tensor:
        """Distinct rows that are judged, ascending."""
        return torch.unique(torch.cat([self.rows_a, self.rows_b, self.rows]))

    def pick(self, comparisons: Tensor, labels: Tensor) -> JudgmentSet:
        """Some comparisons and label choices, by mask or position."""
        return JudgmentSet(
            rows_a=self.rows_a[comparisons],
            class_a=self.class_a[comparisons],
            rows_b=self.rows_b[comparisons],
            class_b=self.class_b[comparisons],
            choice=self.choice[comparisons],
            rows=self.rows[labels],
            answer=self.answer[labels],
        )

    def among(self, images: Tensor) -> JudgmentSet:
        """Judgments all of whose images are among those given: no image is on both sides of a split."""
        both = torch.isin(self.rows_a, images) & torch.isin(self.rows_b, images)
        return self.pick(both, torch.isin(self.rows, images))

    def share(self, rank: int, world: int) -> JudgmentSet:
        """One process's part: every `world`-th (first) image with all judgments of it."""
        if world == 1:
            return self
        distinct = torch.unique(torch.cat([self.rows_a, self.rows]))
        mine_a, mine = (torch.searchsorted(distinct, rows) % world == rank for rows in (self.rows_a, self.rows))
        return self.pick(mine_a, mine)

    def batches(self, images: int, random: torch.Generator) -> Iterator[JudgmentSet]:
        """All judgments in random order of their (first) image, those of about `images` images at a time.

        Judgments of one image stay together, so that the network sees it once an epoch however often it was judged.
        """
        distinct = torch.unique(torch.cat([self.rows_a, self.rows]))
        parts = -(-len(distinct) // images)
        place = torch.randperm(len(distinct), generator=random) * parts // len(distinct)
        part_a = place[torch.searchsorted(distinct, self.rows_a)]
        part = place[torch.searchsorted(distinct, self.rows)]
        by_a, by = part_a.argsort(stable=True), part.argsort(stable=True)
        sizes_a, sizes = part_a.bincount(minlength=parts).tolist(), part.bincount(minlength=parts).tolist()
        for comparisons, labels in zip(by_a.split(sizes_a), by.split(sizes), strict=True):
            yield self.pick(comparisons, labels)


def _classes_of(frame: pd.DataFrame, column: str, classes: tuple[str, ...], path: Path) -> pd.Series:
    numbers = frame[column].map({name: number for number, name in enumerate(classes)})
    if numbers.isna().any():
        line = frame.index[numbers.isna()][0]
        raise UserError(
            f"{path}, line {line}: {column} is {frame[column].loc[line]!r}, which is not one of the classes "
            f"{', '.join(classes)}; correct images.classes or retract the judgment"
        )
    return numbers


def read_judgments(
    store: FeedbackStore, position: dict[str, int], classes: tuple[str, ...], objective: str
) -> JudgmentSet:
    """The answers that an objective trains on; `cant_tell` and `bad_image` are none.

    Args:
        position: row number of each image id.
        objective: bradley_terry takes comparisons, supervised label choices, joint both.

    Raises:
        UserError: a class that does not exist, or no answer of the kind needed.
    """
    pairs = store.comparisons()
    pairs = pairs[~pairs["choice"].isin(NO_ANSWER)] if objective != "supervised" else pairs.iloc[:0]
    labels = store.per_image_judgments("label")
    labels = labels[~labels["answer"].isin(NO_ANSWER)] if objective != "bradley_terry" else labels.iloc[:0]
    here = pairs["image_a"].isin(position) & pairs["image_b"].isin(position)
    here_too = labels["image"].isin(position)
    unknown = int((~here).sum() + (~here_too).sum())
    for frame, known, path in ((pairs, here, store.pairwise.path), (labels, here_too, store.per_image.path)):
        if not known.all():
            warnings.warn(
                f"{path}, line {frame.index[~known][0]}: the image is not there (any more); {int((~known).sum())} such "
                "judgments are left out",
                FeedbackWarning,
                stacklevel=2,
            )
    pairs, labels = pairs[here], labels[here_too]
    if not len(pairs) + len(labels):
        kind = {"bradley_terry": "comparisons", "supervised": "label choices", "joint": "comparisons or label choices"}[
            objective
        ]
        gone = f" ({unknown} are about images that are no longer there)" if unknown else ""
        raise UserError(
            f"{store.folder} holds no {kind} of these images{gone}: run `make collect` first, or set reward.objective"
        )
    row, pair_file, label_file = position.__getitem__, store.pairwise.path, store.per_image.path
    return JudgmentSet(
        rows_a=_tensor(pairs["image_a"].map(row)),
        class_a=_tensor(_classes_of(pairs, "label_a", classes, pair_file)),
        rows_b=_tensor(pairs["image_b"].map(row)),
        class_b=_tensor(_classes_of(pairs, "label_b", classes, pair_file)),
        choice=_tensor(pairs["choice"].map(CHOICES)),
        rows=_tensor(labels["image"].map(row)),
        answer=_tensor(_classes_of(labels, "answer", classes, label_file)),
        unknown=unknown,
    )


def _tensor(column: pd.Series) -> Tensor:
    return torch.from_numpy(np.array(column, dtype=np.int64))


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
            "judgments of at least two images are needed, one of them to be held out; run `make collect` for more"
        )
    held = min(max(1, round(heldout_fraction * len(images))), len(images) - 1)
    order = images[torch.randperm(len(images), generator=random)]
    train, heldout = judgments.among(order[held:]), judgments.among(order[:held])
    if not len(train) or not len(heldout):
        raise UserError("too few judgments to hold any out by image; run `make collect` for more")
    return train, heldout
