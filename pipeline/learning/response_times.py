"""The time model: how many seconds a person takes for a question, by kind and person (METHOD 10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from feedback_store.schemas import schemas_of
from pipeline.kinds import kinds
from pipeline.learning.shrinkage import Variances, fit_offsets

# Standard deviations of log seconds before any answer was timed. CIFAR-10N's times vary by 0.46 in all, persons and
# answers together; a kind may take half or twice its usual seconds.
KIND_SD = 0.5
PERSON_SD = 0.3
ANSWER_SD = 0.35
LONGEST = 4.0  # standard deviations; a longer answer was interrupted (1 in 30,000 is that long by chance)
MIN_SECONDS = 0.001  # response_ms may be 0, which has no logarithm


@dataclass(frozen=True)
class TimeModel:
    """log seconds ~ Normal(log usual seconds + offset of the kind + offset of the person, answer_sd^2).

    Attributes:
        classes: number of classes, for the usual seconds of a kind.
        kind_offsets: of kinds with timed answers; log of the factor on the usual seconds.
        person_offsets: of annotators with timed answers; log of the factor on the average person's seconds.
        answer_sd: standard deviation of the log seconds of one person's answers to one kind.
        person_sd: standard deviation of the persons' offsets.
        answers: number of timed answers of each kind.
        interrupted: number of answers so long that they must have been interrupted.
    """

    classes: int
    kind_offsets: dict[str, float] = field(default_factory=dict)
    person_offsets: dict[str, float] = field(default_factory=dict)
    answer_sd: float = ANSWER_SD
    person_sd: float = PERSON_SD
    answers: dict[str, int] = field(default_factory=dict)
    interrupted: int = 0

    def median_seconds(self, kind: str, person: str | None = None, *, images: int = 1, marks: int = 0) -> float:
        """Median seconds of a person, or of an average one, for one question.

        Args:
            images, marks: as in `JudgmentKind.usual_seconds`.

        Raises:
            UnknownNameError: there is no such kind.
        """
        usual = kinds.get(kind).usual_seconds(self.classes, images, marks)
        return usual * float(np.exp(self.kind_offsets.get(kind, 0.0) + self._offset(person)))

    def seconds(self, kind: str, person: str | None = None, *, images: int = 1, marks: int = 0) -> float:
        """Expected seconds (the mean, which is longer than the median) of one question.

        Args:
            person: name of an annotator; of somebody without timed answers, or None, the mean over persons.
            images, marks: as in `JudgmentKind.usual_seconds`.

        Raises:
            UnknownNameError: there is no such kind.
        """
        return self.median_seconds(kind, person, images=images, marks=marks) * self._mean_factor(person)

    def total(self, tables: Iterable[pd.DataFrame]) -> float:
        """Seconds that stored rows cost: measured where they were, otherwise expected.

        An answer that was interrupted counts as the longest that was not: nobody spent the rest on the question.

        Args:
            tables: rows as `FeedbackStore` reads them.
        """
        total = 0.0
        for name, shown in _questions(tables, self.classes):
            expected, longest = self._expected(name, shown)
            total += float(np.where(np.isnan(shown["seconds"]), expected, np.minimum(shown["seconds"], longest)).sum())
        return total

    def summary(self) -> dict[str, Any]:
        """The fit: numbers of timed answers and persons, spreads, and seconds of each kind that was asked."""
        return {
            "answers": sum(self.answers.values()),
            "persons": len(self.person_offsets),
            "answer_sd": self.answer_sd,
            "person_sd": self.person_sd,
            "interrupted": self.interrupted,
            "kinds": {
                name: {
                    "answers": count,
                    "usual_factor": float(np.exp(self.kind_offsets[name])),
                    "median_seconds": self.median_seconds(name),
                    "mean_seconds": self.seconds(name),
                }
                for name, count in self.answers.items()
            },
        }

    def _offset(self, person: str | None) -> float:
        return 0.0 if person is None else self.person_offsets.get(person, 0.0)

    def _mean_factor(self, person: str | None) -> float:
        """Mean of a log-normal variable by its median; an unknown person may be a slow or a fast one."""
        between = 0.0 if person in self.person_offsets else self.person_sd**2
        return float(np.exp((self.answer_sd**2 + between) / 2))

    def _expected(self, kind: str, shown: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Mean seconds [Q] of questions, and the seconds [Q] above which an answer was interrupted."""
        people = shown["annotator"].astype("category")
        offsets = np.array([self._offset(str(name)) for name in people.cat.categories])[people.cat.codes]
        factors = np.array([self._mean_factor(str(name)) for name in people.cat.categories])[people.cat.codes]
        median = shown["usual"].to_numpy() * np.exp(self.kind_offsets.get(kind, 0.0) + offsets)
        return median * factors, median * np.exp(LONGEST * self.answer_sd)


def fit(tables: Iterable[pd.DataFrame], classes: int) -> TimeModel:
    """The time model of stored rows; without timed rows, what is known of each kind of question.

    Args:
        tables: rows as `FeedbackStore` reads them, e.g. `[store.comparisons(), store.per_image_judgments()]`. Rows
            without `response_ms` are ignored.
        classes: number of classes.
    """
    timed = [(name, shown.dropna(subset="seconds")) for name, shown in _questions(tables, classes)]
    timed = [(name, shown) for name, shown in timed if len(shown)]
    if not timed:
        return TimeModel(classes)
    frame = pd.concat([shown.assign(kind=name) for name, shown in timed], ignore_index=True)
    kind, kind_names = pd.factorize(frame["kind"])
    person, person_names = pd.factorize(frame["annotator"])
    log_factor = np.log(frame["seconds"].clip(lower=MIN_SECONDS)) - np.log(frame["usual"])
    start = Variances(kind=KIND_SD**2, person=PERSON_SD**2, answer=ANSWER_SD**2)
    offsets = fit_offsets(log_factor.to_numpy(), kind, person, start)
    answer_sd = float(np.sqrt(offsets.variances.answer))
    return TimeModel(
        classes,
        kind_offsets=dict(zip(map(str, kind_names), offsets.kind.tolist(), strict=True)),
        person_offsets=dict(zip(map(str, person_names), offsets.person.tolist(), strict=True)),
        answer_sd=answer_sd,
        person_sd=float(np.sqrt(offsets.variances.person)),
        answers={str(name): int((kind == number).sum()) for number, name in enumerate(kind_names)},
        interrupted=int((offsets.residuals > LONGEST * answer_sd).sum()),
    )


def rows_by_kind(tables: Iterable[pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each kind that was asked, with its rows."""
    for rows in tables:
        for schema in schemas_of("per_image" if "question" in rows else "pairwise"):
            own = rows[schema.select(rows)]
            if len(own):
                yield schema.name, own


def _questions(tables: Iterable[pd.DataFrame], classes: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each kind that was asked, with its questions as `JudgmentKind.questions_shown` returns them."""
    for name, rows in rows_by_kind(tables):
        yield name, kinds.get(name).questions_shown(rows, classes)
