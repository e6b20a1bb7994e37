"""Stored judgments as tensors of row and class numbers, split and batched by image (docs/method.md 1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feedback_store.audit import audit_images, without_images
from feedback_store.errors import FeedbackWarning
from feedback_store.records import NO_ANSWER
from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from pipeline.kinds import Columns, Likelihood, kinds, likelihoods
from pipeline.run import next_command

Objective = Literal["bradley_terry", "supervised", "joint"]
Where = Callable[[object], str]  # where a row is, for messages
COLUMNS = ("kind", "rows", "classes", "answer", "annotator")  # of a JudgmentSet: tensors of one row per judgment
MIN_COLUMNS = 2  # of `rows` and `classes`: a comparison has two sides


@dataclass(frozen=True, eq=False)
class JudgmentSet:
    """Answers of all kinds, one row each; int64 tensors of M rows.

    Attributes:
        likelihoods: of the answers; kinds that share a likelihood are not distinguished.
        kind: [M] number of the answer's likelihood.
        rows: [M, I] images asked about; padded with the first one.
        classes: [M, L] labels asked about; padded with 0.
        answer: [M] number of the answer, as its likelihood numbers them.
        annotator: [M] number of the annotator in `annotators`.
        annotators: names.
        answers: for each likelihood, the number of possible answers.
        unknown: judgments about images that are not in the table, which are left out.
        observed: for likelihoods with error rates of their own, by name: counts of people's errors on images of known
            classes (`JudgmentKind.observed_errors`); only those that were answered.
    """

    likelihoods: tuple[Likelihood, ...]
    kind: Tensor
    rows: Tensor
    classes: Tensor
    answer: Tensor
    annotator: Tensor
    annotators: tuple[str, ...]
    answers: tuple[int, ...]
    unknown: int = 0
    observed: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def rows_a(self) -> Tensor:
        """[M] the first image of each."""
        return self.rows[:, 0].contiguous()

    @property
    def images(self) -> Tensor:
        """Distinct rows that are judged, ascending."""
        return torch.unique(self.rows)

    def pick(self, which: Tensor) -> JudgmentSet:
        """Some judgments, by mask or position."""
        return replace(self, **{name: getattr(self, name)[which] for name in COLUMNS})

    @classmethod
    def joined(cls, parts: Sequence[JudgmentSet]) -> JudgmentSet:
        """Parts of one set, one after the other."""
        columns: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in COLUMNS}
        return replace(parts[0], **columns)

    def by_likelihood(self) -> Iterator[tuple[int, Likelihood, JudgmentSet]]:
        """Each likelihood that occurs, with its number and its judgments."""
        for number in torch.unique(self.kind).tolist():
            yield number, self.likelihoods[number], self.pick(self.kind == number)

    def among(self, images: Tensor) -> JudgmentSet:
        """Judgments whose images are all in `images`, so that no image is on both sides of a split."""
        return self.pick(torch.isin(self.rows, images).all(1))

    def batches(self, images: int, random: torch.Generator) -> Iterator[JudgmentSet]:
        """All judgments in random order of their (first) image, about `images` images per batch.

        Judgments of one image stay together, so that the network sees it once per epoch, however often it was judged.
        """
        for _, part in self.batches_of(torch.unique(self.rows_a), images, random):
            yield part

    def batches_of(self, rows: Tensor, images: int, random: torch.Generator) -> Iterator[tuple[Tensor, JudgmentSet]]:
        """Images in random order, about `images` per batch, each batch with all judgments of its images.

        Args:
            rows: [U] row numbers, ascending; they contain every (first) image of these judgments.
        """
        parts = -(-len(rows) // images)
        place = torch.randperm(len(rows), generator=random) * parts // len(rows)
        part = place[torch.searchsorted(rows, self.rows_a)]
        order = part.argsort(stable=True)
        for number, which in enumerate(order.split(part.bincount(minlength=parts).tolist())):
            yield rows[place == number], self.pick(which)


def _nothing_to_train_on(store: FeedbackStore, objective: Objective) -> str:
    """What the user can do if no judgment fits the objective."""
    pairs, singles = len(store.comparisons()), len(store.per_image_judgments())
    other, count = ("supervised", singles) if objective == "bradley_terry" else ("bradley_terry", pairs)
    if not count or objective == "joint":
        return f"run `{next_command.make('collect')}` first"
    kind = "per-image judgments" if other == "supervised" else "comparisons"
    return f"it holds {count} {kind}; set reward.objective to {other} to train on these, or to joint for both kinds"


def read_judgments(
    store: FeedbackStore,
    position: Mapping[str, int],
    classes: tuple[str, ...],
    objective: Objective,
    known: Mapping[str, str] | None = None,
) -> JudgmentSet:
    """The answers that an objective trains on, without `cant_tell`, `bad_image` and any answer about an audited image.

    Args:
        position: row number of each image id.
        objective: bradley_terry takes comparisons, supervised per-image judgments, joint both.
        known: class of each labelled image of the reference; answers about these tell people's error rates, where a
            likelihood has such, and are not trained on.

    Raises:
        UserError: an unknown class, or no answer of the kind needed.
    """
    audited = audit_images(store)  # these images measure the policy, which must not learn from any answer about them
    pairs, singles = (without_images(frame, audited) for frame in (store.comparisons(), store.per_image_judgments()))
    pairs = pairs[~pairs["choice"].isin(NO_ANSWER)] if objective != "supervised" else pairs.iloc[:0]
    singles = singles[~singles["answer"].isin(NO_ANSWER)] if objective != "bradley_terry" else singles.iloc[:0]
    where_pair, where_single = partial(store.where, "pairwise"), partial(store.where, "per_image")
    pairs, missing_pairs = _with_images(pairs, ("image_a", "image_b"), position, where_pair)
    singles, missing_singles = _with_images(singles, ("image",), position, where_single)
    unknown = missing_pairs + missing_singles
    if not len(pairs) + len(singles):
        wanted = {"bradley_terry": "comparisons", "supervised": "per-image judgments", "joint": "judgments"}[objective]
        gone = f" ({unknown} are about images that no longer exist)" if unknown else ""
        advice = _nothing_to_train_on(store, objective)
        raise UserError(f"{store.location} holds no {wanted} of these images{gone}: {advice}")
    annotators = tuple(sorted({*pairs["annotator"], *singles["annotator"]}))
    number = {name: n for n, name in enumerate(annotators)}
    all_likelihoods = likelihoods()
    tables = {"pairwise": (pairs, where_pair), "per_image": (singles, where_single)}
    parts, observed = [], {}
    for likelihood in all_likelihoods:
        # Rows of a table in their own order, whatever their kind: kinds that share a likelihood share a table.
        sharing = [kind for kind in kinds if kind.likelihood is likelihood]
        frame, where = tables[sharing[0].schema.table]
        own = frame[np.logical_or.reduce([kind.schema.select(frame) for kind in sharing])]
        if len(own) and likelihood.has_errors:
            who, truth = own["annotator"].map(number).to_numpy(), own["image"].map(known or {})
            observed[likelihood.name] = sharing[0].observed_errors(own, truth, who, len(annotators))
            own = own[truth.isna()]
        encoded = sharing[0].encode(_columns(own, position, classes, where))
        parts.append((*encoded, _tensor(own["annotator"].map(number))))
    return JudgmentSet(
        likelihoods=all_likelihoods,
        kind=torch.cat([torch.full_like(answer, n) for n, (_, _, answer, _) in enumerate(parts)]),
        rows=_padded([rows for rows, _, _, _ in parts], repeat=True),
        classes=_padded([of for _, of, _, _ in parts], repeat=False),
        answer=torch.cat([answer for _, _, answer, _ in parts]),
        annotator=torch.cat([who for _, _, _, who in parts]),
        annotators=annotators,
        answers=tuple(
            likelihood.count_answers(part[2], len(classes))
            for likelihood, part in zip(all_likelihoods, parts, strict=True)
        ),
        unknown=unknown,
        observed=observed,
    )


def _with_images(
    frame: pd.DataFrame, columns: Sequence[str], position: Mapping[str, int], where: Where
) -> tuple[pd.DataFrame, int]:
    """Rows whose images are all in the table, and the number of other rows; warns about these."""
    known = np.logical_and.reduce([frame[column].isin(_rows_of(frame[column], position)) for column in columns])
    gone = int((~known).sum())
    if gone:
        warnings.warn(
            f"{where(frame.index[~known][0])}: the image does not exist (any more); {gone} such judgments are left out",
            FeedbackWarning,
            stacklevel=3,
        )
    return frame[known], gone


def _columns(frame: pd.DataFrame, position: Mapping[str, int], classes: tuple[str, ...], where: Where) -> Columns:
    number = {name: n for n, name in enumerate(classes)}

    def class_numbers(column: str, names: pd.Series) -> Tensor:
        numbers = names.map(number)
        if numbers.isna().any():
            line = names.index[numbers.isna()][0]
            raise UserError(
                f"{where(line)}: {column} is {names.loc[line]!r}, which is not one of the classes "
                f"{', '.join(classes)}; fix images.classes or retract the judgment"
            )
        return _tensor(numbers)

    return Columns(frame, lambda column: _tensor(column.map(_rows_of(column, position))), class_numbers)


def _rows_of(images: pd.Series, position: Mapping[str, int]) -> dict[str, int]:
    """Rows of these images; each is looked up once, however many judgments it has."""
    return {image: position[image] for image in images.unique() if image in position}


def _tensor(column: pd.Series) -> Tensor:
    return torch.from_numpy(np.array(column, dtype=np.int64))


def _padded(parts: Sequence[Tensor], *, repeat: bool) -> Tensor:
    """Tensors [M_i, K_i] as one of the largest width, at least MIN_COLUMNS: missing columns repeat the first one, or are 0."""
    width = max(MIN_COLUMNS, *(part.shape[1] for part in parts))
    filled = []
    for part in parts:
        missing = width - part.shape[1]
        first = part[:, :1].expand(-1, missing) if repeat else part.new_zeros(len(part), missing)
        filled.append(torch.cat([part, first], dim=1))
    return torch.cat(filled)
