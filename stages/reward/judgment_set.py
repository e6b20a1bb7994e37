"""Stored judgments as one table of row and class numbers, split by image and batched by image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feedback_store.csv_store.store import FeedbackStore
from feedback_store.errors import FeedbackWarning
from feedback_store.records import NO_ANSWER
from pipeline.errors import UserError
from pipeline.run import next_command
from stages.reward.likelihoods import NO, TIE, YES, A, B

COMPARISON, LABEL, VERDICT, RATING = range(4)
KINDS = ("comparison", "label", "verdict", "rating")
CHOICES = {"a": A, "b": B, "tie": TIE}
TIE_SEEN = (COMPARISON, TIE)


@dataclass(frozen=True, eq=False)
class JudgmentSet:
    """Answers of all kinds, one row each; int64 tensors [M].

    Attributes:
        kind: COMPARISON, LABEL, VERDICT or RATING.
        rows_a, class_a: image and class asked about (the first side of a comparison); class 0 for label choices.
        rows_b, class_b: the second side; the same as the first where there is none.
        answer: A, B or TIE; the class chosen; NO or YES; the rating minus 1.
        annotator: number of the annotator in `annotators`.
        annotators: names.
        levels: number of rating levels, 2 at least.
        unknown: judgments about images that are not in the table, which are left out.
    """

    kind: Tensor
    rows_a: Tensor
    class_a: Tensor
    rows_b: Tensor
    class_b: Tensor
    answer: Tensor
    annotator: Tensor
    annotators: tuple[str, ...] = ("",)
    levels: int = 2
    unknown: int = 0

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def images(self) -> Tensor:
        """Distinct rows that are judged, ascending."""
        return torch.unique(torch.cat([self.rows_a, self.rows_b]))

    def has(self, what: tuple[int, int]) -> bool:
        """Whether an answer of that kind was ever given."""
        return bool(((self.kind == what[0]) & (self.answer == what[1])).any())

    def pick(self, which: Tensor) -> JudgmentSet:
        """Some judgments, by mask or position."""
        names = ("kind", "rows_a", "class_a", "rows_b", "class_b", "answer", "annotator")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def by_kind(self) -> Iterator[tuple[int, JudgmentSet]]:
        """Each kind that occurs, with its judgments."""
        for kind in torch.unique(self.kind).tolist():
            yield kind, self.pick(self.kind == kind)

    def among(self, images: Tensor) -> JudgmentSet:
        """Judgments all of whose images are among those given: no image is on both sides of a split."""
        return self.pick(torch.isin(self.rows_a, images) & torch.isin(self.rows_b, images))

    def share(self, rank: int, world: int) -> JudgmentSet:
        """One process's part: every `world`-th (first) image with all judgments of it."""
        if world == 1:
            return self
        return self.pick(torch.searchsorted(torch.unique(self.rows_a), self.rows_a) % world == rank)

    def batches(self, images: int, random: torch.Generator) -> Iterator[JudgmentSet]:
        """All judgments in random order of their (first) image, those of about `images` images at a time.

        Judgments of one image stay together, so that the network sees it once an epoch however often it was judged.
        """
        distinct = torch.unique(self.rows_a)
        parts = -(-len(distinct) // images)
        place = torch.randperm(len(distinct), generator=random) * parts // len(distinct)
        part = place[torch.searchsorted(distinct, self.rows_a)]
        order = part.argsort(stable=True)
        for which in order.split(part.bincount(minlength=parts).tolist()):
            yield self.pick(which)


def _classes_of(frame: pd.DataFrame, column: str, classes: tuple[str, ...], path: Path) -> Tensor:
    numbers = frame[column].map({name: number for number, name in enumerate(classes)})
    if numbers.isna().any():
        line = frame.index[numbers.isna()][0]
        raise UserError(
            f"{path}, line {line}: {column} is {frame[column].loc[line]!r}, which is not one of the classes "
            f"{', '.join(classes)}; correct images.classes or retract the judgment"
        )
    return _tensor(numbers)


def _tensor(column: pd.Series) -> Tensor:
    return torch.from_numpy(np.array(column, dtype=np.int64))


Objective = Literal["bradley_terry", "supervised", "joint"]


def _way_out(store: FeedbackStore, objective: Objective) -> str:
    """What to do where there is nothing that the objective trains on."""
    other, count = (
        ("supervised", len(store.per_image_judgments()))
        if objective == "bradley_terry"
        else ("bradley_terry", len(store.comparisons()))
    )
    if not count or objective == "joint":
        return f"run `{next_command.make('collect')}` first"
    kind = "per-image judgments" if other == "supervised" else "comparisons"
    return f"it holds {count} {kind}; set reward.objective to {other} to train on these, or to joint for both kinds"


def read_judgments(
    store: FeedbackStore, position: dict[str, int], classes: tuple[str, ...], objective: Objective
) -> JudgmentSet:
    """The answers that an objective trains on; `cant_tell` and `bad_image` are none.

    Args:
        position: row number of each image id.
        objective: bradley_terry takes comparisons, supervised per-image judgments, joint both.

    Raises:
        UserError: a class that does not exist, or no answer of the kind needed.
    """
    pairs, singles = store.comparisons(), store.per_image_judgments()
    pairs = pairs[~pairs["choice"].isin(NO_ANSWER)] if objective != "supervised" else pairs.iloc[:0]
    singles = singles[~singles["answer"].isin(NO_ANSWER)] if objective != "bradley_terry" else singles.iloc[:0]
    here = pairs["image_a"].isin(position) & pairs["image_b"].isin(position)
    here_too = singles["image"].isin(position)
    unknown = int((~here).sum() + (~here_too).sum())
    for frame, known, path in ((pairs, here, store.pairwise.path), (singles, here_too, store.per_image.path)):
        if not known.all():
            warnings.warn(
                f"{path}, line {frame.index[~known][0]}: the image is not there (any more); {int((~known).sum())} such "
                "judgments are left out",
                FeedbackWarning,
                stacklevel=2,
            )
    pairs, singles = pairs[here], singles[here_too]
    if not len(pairs) + len(singles):
        wanted = {"bradley_terry": "comparisons", "supervised": "per-image judgments", "joint": "judgments"}[objective]
        gone = f" ({unknown} are about images that are no longer there)" if unknown else ""
        raise UserError(f"{store.folder} holds no {wanted} of these images{gone}: {_way_out(store, objective)}")
    annotators = tuple(sorted({*pairs["annotator"], *singles["annotator"]}))
    number = {name: n for n, name in enumerate(annotators)}
    frames = [_comparisons(pairs, position, classes, store.pairwise.path)]
    frames += [
        _per_image(singles[singles["question"] == name], kind, position, classes, store.per_image.path)
        for kind, name in ((LABEL, "label"), (VERDICT, "verdict"), (RATING, "rating"))
    ]
    who = [pairs["annotator"], *(singles.loc[singles["question"] == name, "annotator"] for name in KINDS[1:])]
    columns = [torch.cat(parts) for parts in zip(*frames, strict=True)]
    ratings = columns[5][columns[0] == RATING]
    names = ("kind", "rows_a", "class_a", "rows_b", "class_b", "answer")
    return JudgmentSet(
        **dict(zip(names, columns, strict=True)),
        annotator=torch.cat([_tensor(column.map(number)) for column in who]),
        annotators=annotators,
        levels=max(2, int(ratings.max()) + 1 if len(ratings) else 2),
        unknown=unknown,
    )


def _comparisons(frame: pd.DataFrame, position: dict[str, int], classes: tuple[str, ...], path: Path) -> list[Tensor]:
    rows_a, rows_b = (_tensor(frame[name].map(position.__getitem__)) for name in ("image_a", "image_b"))
    class_a, class_b = (_classes_of(frame, name, classes, path) for name in ("label_a", "label_b"))
    return [
        torch.full_like(rows_a, COMPARISON),
        rows_a,
        class_a,
        rows_b,
        class_b,
        _tensor(frame["choice"].map(CHOICES)),
    ]


def _per_image(
    frame: pd.DataFrame, kind: int, position: dict[str, int], classes: tuple[str, ...], path: Path
) -> list[Tensor]:
    rows = _tensor(frame["image"].map(position.__getitem__))
    label = torch.zeros_like(rows) if kind == LABEL else _classes_of(frame, "label", classes, path)
    if kind == LABEL:
        answer = _classes_of(frame, "answer", classes, path)
    elif kind == VERDICT:
        answer = _tensor(frame["answer"].map({"no": NO, "yes": YES}))
    else:
        answer = _tensor(frame["answer"].astype(int) - 1)
    return [torch.full_like(rows, kind), rows, label, rows, label, answer]


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
            f"judgments of at least two images are needed, one of them to be held out; run `{next_command.make('collect')}` for more"
        )
    held = min(max(1, round(heldout_fraction * len(images))), len(images) - 1)
    order = images[torch.randperm(len(images), generator=random)]
    train, heldout = judgments.among(order[held:]), judgments.among(order[:held])
    if not len(train) or not len(heldout):
        raise UserError(f"too few judgments to hold any out by image; run `{next_command.make('collect')}` for more")
    return train, heldout
