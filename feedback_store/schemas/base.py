"""Schemas: for each kind of judgment, how it is stored, checked, summarised and exchanged. No torch, no images.

A schema stores its judgments in one of two tables: `pairwise` (record `Comparison`, two sides) or `per_image` (record
`PerImage`, one image, with the schema's name in the column `question`). `PairSchema` and `PerImageSchema` implement
both; a kind overrides what differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import pandas as pd

from feedback_store.registry import Registry

if TYPE_CHECKING:
    from feedback_store.records import Judgment

Row = Mapping[str, str]


@dataclass(frozen=True)
class Subject:
    """What a question is about.

    Attributes:
        images: ids of the images shown: one, two, or those of a page.
        labels: class names asked about, none or several.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...] = ()


class LabelCount(NamedTuple):
    """A column of a table by label.

    Attributes:
        name: in JSON.
        heading: on the page.
        labels: names, each counted as often as it occurs.
    """

    name: str
    heading: str
    labels: pd.Series


@dataclass(frozen=True, eq=False)
class Problem:
    """A rule that cells of a column may break.

    Attributes:
        column: name of the column.
        valid: [rows] whether each cell keeps the rule.
        rule: for the message about an invalid cell, e.g. `it must be one of yes, no`.
    """

    column: str
    valid: pd.Series
    rule: str


class Schema(ABC):
    """One kind of judgment as stored rows.

    Attributes:
        name: of the kind, e.g. `comparison`.
        asks: the question in general, e.g. `which of two labels fits the image better`.
        table: `pairwise` or `per_image`.
        answer_column: of the table.
        scale: level of measurement of its answers, for Krippendorff's alpha.
    """

    name: ClassVar[str]
    asks: ClassVar[str]
    table: ClassVar[Literal["pairwise", "per_image"]]
    answer_column: ClassVar[str]
    scale: ClassVar[Literal["nominal", "ordinal"]] = "nominal"

    # Storage -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def select(self, frame: pd.DataFrame) -> pd.Series:
        """[rows] which rows of the table are of this kind."""

    @abstractmethod
    def owns(self, row: Row) -> bool:
        """Whether a row of the table is of this kind."""

    @abstractmethod
    def record(self, subject: Subject, answer: str, *, shown_first: str = "a", **common: Any) -> Judgment:
        """The judgment of an answer to a question.

        Args:
            shown_first: the side that was shown first, a or b.
            common: fields of every judgment (`annotator`, `source`, ...).

        Raises:
            FeedbackError: the answer is invalid.
        """

    def records(
        self, subject: Subject, answer: str, *, page: str, id: str, retracts: str = "", **common: Any
    ) -> Sequence[Judgment]:
        """All rows of an answer: one, unless the question is a page of several images (`feedback_store.pages`).

        Args:
            page: key of the question.
            id: of the answer.
            retracts: id of the answer that this one takes back.
            common: as in `record`.

        Raises:
            FeedbackError: the answer is invalid.
        """
        return [self.record(subject, answer, id=id, retracts=retracts, **common)]

    @abstractmethod
    def subject(self, row: Row) -> Subject:
        """What a stored row is about."""

    def answer(self, row: Row) -> str:
        """The answer of a stored row."""
        return row[self.answer_column]

    def folded(self, before: str | None, row: Row) -> str:
        """The answer that rows belong to, from one more of its rows.

        Args:
            before: of the rows before; None for the first.
        """
        return self.answer(row)

    @abstractmethod
    def sides(self, subject: Subject) -> list[tuple[str, str]]:
        """A question's subject as two pairs of image and label; the second is empty if there is one side."""

    def key_parts(self, subject: Subject) -> list[str]:
        """Identifies a question independent of the side shown first; hashed into the key of an item."""
        return [self.name, *(part for side in sorted(self.sides(subject)) for part in side)]

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        """Rules for the cells of rows of this kind, beyond those of the table."""
        return iter(())

    def label_problems(self, frame: pd.DataFrame, classes: Collection[str]) -> Iterator[Problem]:
        """Cells that must name one of the classes, for rows of this kind."""
        return iter(())

    def check(self, judgment: Any) -> None:  # noqa: B027  (most kinds have no further rules)
        """Raise FeedbackError if a record of this kind is invalid, beyond the rules of its table."""

    # Statistics ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def answers(self, frame: pd.DataFrame, gold: Mapping[str, str]) -> pd.DataFrame:
        """Rows of this kind for quality statistics, with the index of `frame`.

        Args:
            gold: true class of each image whose class is known.

        Returns:
            columns item (same text for the same question), value (answer, independent of the order of the sides), correct
            (1, 0, or NaN where the right answer is unknown), first (1 if the side shown first was chosen, 0 if the other,
            NaN where there are no sides).
        """

    def answer_counts(self, frame: pd.DataFrame) -> dict[str, int]:
        """Number of each answer, by its name in the report."""
        return {str(answer): int(count) for answer, count in frame[self.answer_column].value_counts().items()}

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        """Columns of the report's table by label."""
        return []

    # Exchange with Label Studio ------------------------------------------------------------------------------------

    @abstractmethod
    def label_studio_config(self, answers: Sequence[str]) -> str:
        """The labelling configuration (XML) of exported tasks."""

    @abstractmethod
    def label_studio_data(self, row: Row, files: Mapping[str, str]) -> dict[str, str]:
        """`data` of the task of a stored row.

        Args:
            files: path of each image with a printable path; other images are shown by their id.
        """

    @abstractmethod
    def label_studio_result(self, row: Row) -> dict[str, Any]:
        """`result` of an annotation: from_name, to_name, type and value."""

    def reads_choice(self, control: str, answer: str, data: Mapping[str, Any]) -> bool:
        """Whether one choice of a control tag `control` of a task with this `data` answers this kind's question."""
        return False

    def reads_tag(self, tag: str) -> bool:
        """Whether a result of a control tag of this type (not pairwise or choices) answers this kind's question."""
        return False


schemas: Registry[Schema] = Registry("judgment kind", "image_rlhf.judgment_kinds", adapt=lambda kind: kind.schema)


def schemas_of(table: Literal["pairwise", "per_image"]) -> list[Schema]:
    """The kinds whose judgments are rows of this table."""
    return [schema for schema in schemas if schema.table == table]


def schema_of(row: Row) -> Schema:
    """The kind of a stored row.

    Raises:
        UnknownNameError: the kind of a package that is not installed.
    """
    if "question" in row:
        return schemas.get(row["question"])
    return next(schema for schema in schemas_of("pairwise") if schema.owns(row))


def per_image_names() -> tuple[str, ...]:
    """Valid values of the column `question`."""
    return tuple(schema.name for schema in schemas_of("per_image"))
