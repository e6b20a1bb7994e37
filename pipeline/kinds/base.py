"""The interface of a judgment kind: one object has everything that differs between kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from feedback_store.registry import Registry
from feedback_store.schemas import Schema, schemas
from feedback_store.schemas.base import Subject
from pipeline.config.collect import CollectConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.kinds.columns import Columns
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.queries import Queries
from pipeline.kinds.question_screen import Choice, KeyHelp, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_SECONDS = 3.6  # Christiano et al. 2017: 5,000 comparisons of clips in about 5 hours


class JudgmentKind(ABC):
    """One kind of judgment: drawing of queries, display, simulation and likelihood.

    Attributes:
        name: in settings, e.g. `comparison`.
        schema: how it is stored, checked, summarised and exchanged.
        likelihood: of its answers.
        actions: settings in `collect.keys` whose keys answer it.
        style: CSS class of the choices on the page.
        script: source of a JavaScript module with a custom layout, or None (docs/architecture.md).
        page_files: text of its further modules and style sheets, by file name; served in `<name>/` beside it.
        small_images: whether images are tiles of a page, so that few pixels do and few questions are loaded ahead.
        item_name, enlarges: what is judged (image, clip, text); whether `zoom` shows its images enlarged.
        images_compared, rows_per_question: images that a question compares; rows that an answer is stored as.
    """

    name: ClassVar[str]
    schema: ClassVar[Schema]
    likelihood: ClassVar[Likelihood]
    actions: ClassVar[tuple[str, ...]] = ()
    style: ClassVar[str] = ""
    script: ClassVar[str | None] = None
    page_files: ClassVar[Mapping[str, str]] = {}
    small_images: ClassVar[bool] = False
    item_name: ClassVar[str] = "image"
    enlarges: ClassVar[bool] = True
    images_compared: ClassVar[int] = 1
    rows_per_question: int = 1  # `collect.count` counts rows

    def configured(self, settings: CollectConfig) -> JudgmentKind:
        """This kind with those settings of its own that drawing needs; itself for most kinds."""
        return self

    # Asking --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """`count` questions about the images of a pool, labels drawn from the current policy (METHOD 7).

        Args:
            pool: [P] row numbers.
            log_policy: [N, C] log-probabilities of the current policy.

        Raises:
            UserError: too few images or classes for this kind.
        """

    def suited(self, log_policy: Tensor) -> Tensor | None:
        """[N] which images it pays to ask about; None: all. Query strategies choose among them if they are enough."""
        return None

    def arrange(self, rows: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """`count` questions about some of the images that a query strategy ranked, for kinds that show several at once.

        Args:
            rows: [R] row numbers, the most valuable first, perhaps more than fit.
            log_policy: [N, C] log-probabilities of the current policy.
        """
        return self.draw(torch.unique(rows[: count * self.images_compared]), count, log_policy, random)

    def query_each(self, rows: Tensor) -> Queries | None:
        """One query about each row [Q], in order; None if the kind has to draw labels."""
        return None

    def with_known_answer(self, queries: Queries, gold: GoldLabels, random: torch.Generator) -> Queries:
        """Similar queries for gold items: the known classes of the images answer them; some queries may be dropped."""
        return queries

    def with_gold_tiles(
        self, queries: Queries, gold: GoldLabels, share: float, random: torch.Generator
    ) -> Queries | None:
        """Queries with images of known classes hidden in them; None if gold items of this kind are questions of their own.

        Args:
            gold: known classes; -1 for other images.
            share: of the images to replace.
        """
        return None

    @abstractmethod
    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        """The question as it is shown.

        Args:
            shown_first: the side on the left, a or b; ignored by kinds without sides.
        """

    def choices(self, settings: ScreenSettings) -> tuple[Choice, ...] | None:
        """The choices, if they are the same for every question; otherwise None."""
        return None

    def answers(self, settings: ScreenSettings) -> Collection[str]:
        """Valid answers, besides `cant_tell` and `bad_image`; override it if `choices` returns None."""
        return tuple(choice.answer for choice in self.choices(settings) or ())

    def is_valid(self, answer: str, subject: Subject, settings: ScreenSettings) -> bool:
        """Whether this is an answer to a question about `subject`, besides `cant_tell` and `bad_image`."""
        return answer in self.answers(settings)

    def answer_text(self, answer: str, screen: Screen) -> str:
        """An answer as it is shown to others (`collect.show_others`)."""
        texts = {choice.answer: choice.text for choice in screen.choices if choice.action and choice.text}
        return texts.get(answer, answer)

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        """Help lines for keys of this kind that are not actions."""
        return []

    # Seconds of people ---------------------------------------------------------------------------------------------

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        """Median seconds that a person is expected to take for one question, before any answer was timed (METHOD 10).

        Args:
            classes: number of classes to choose from.
            images: number of images on the screen, for kinds that show a page of them.
            marks: number of images that the person marks on such a page.
        """
        return COMPARISON_SECONDS  # of kinds that do not say it

    def count_marks(self, answer: str) -> int:
        """Number of images that an answer marks on a page; 0 for other kinds."""
        return 0

    def questions_shown(self, rows: pd.DataFrame, classes: int) -> pd.DataFrame:
        """The questions behind stored rows of this kind: who spent time on what.

        Here every row is a question. A kind that stores several rows for one question returns one line for all of them.

        Args:
            rows: of this kind; every cell is text.
            classes: number of classes.

        Returns:
            columns annotator, seconds (measured; NaN where not) and usual (`usual_seconds`), one line per question.
        """
        milliseconds = rows["response_ms"].replace("", "nan").astype(float)
        return rows[["annotator"]].assign(seconds=milliseconds / 1000, usual=self.usual_seconds(classes))

    def page_details(self, settings: ScreenSettings) -> Mapping[str, Any]:
        """What `script` needs besides a question, as JSON."""
        return {}

    # Simulating ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """An answer to each query, as it is stored."""

    def replay(self, queries: Queries, labels: np.ndarray, classes: Sequence[str]) -> list[str] | None:
        """Answers by recorded labels [Q], as class numbers; None if labels cannot answer this kind."""
        return None

    # Learning ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        """Stored rows as row numbers [M, I], class numbers [M, L] and answer numbers [M], for the likelihood."""

    def observed_errors(self, frame: pd.DataFrame, truth: pd.Series, annotator: np.ndarray, annotators: int) -> Tensor:
        """[annotators, ...] counts of right and wrong answers about images of known classes, for `Likelihood.errors`.

        Args:
            frame: rows of this kind.
            truth: [rows] class names; NaN where unknown.
            annotator: [rows] numbers.
        """
        return torch.zeros(annotators)


kinds: Registry[JudgmentKind] = Registry("judgment kind", "image_rlhf.judgment_kinds")


def register_kind(kind: JudgmentKind) -> JudgmentKind:
    """Add a kind and its schema."""
    schemas.register(kind.name, kind.schema)
    return kinds.register(kind.name, kind)


def unregister_kind(name: str) -> None:
    """Remove a kind and its schema; for tests and notebooks."""
    kinds.unregister(name)
    schemas.unregister(name)


def likelihoods() -> tuple[Likelihood, ...]:
    """The likelihoods of all kinds, each once, in the order of the kinds."""
    return tuple(dict.fromkeys(kind.likelihood for kind in kinds))
