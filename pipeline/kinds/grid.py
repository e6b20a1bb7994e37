"""The grid question: a page of images that the current policy takes for one class; which of them are exceptions?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from feedback_store.pages import page_answer, page_row, read_page_answer
from feedback_store.records import NO_ANSWER
from feedback_store.schemas.base import Subject
from feedback_store.schemas.grid import GRID, MARKED, TILE_ANSWERS, UNMARKED
from pipeline.config.collect import CollectConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.kinds.base import JudgmentKind
from pipeline.kinds.columns import Columns
from pipeline.kinds.grid_pages import draw_pages, fill_pages, informative
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.queries import Queries
from pipeline.kinds.question_screen import KeyHelp, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation

PAGE = Path(__file__).parent / "grid_page"
MAX_DIGITS = 10  # with more classes, a digit begins a search
PAGE_SECONDS, TILE_SECONDS, MARK_SECONDS = 1.5, 0.35, 0.7  # of a page, each of its images, and each mark
MARK, LEAVE = range(len(TILE_ANSWERS))  # numbers of the answers marked and unmarked
# Beta priors of the two rates: a and b of a density proportional to p^(a - 1) (1 - p)^(b - 1).
MISS_PRIOR = (2.0, 10.0)  # mode 0.1
FALSE_ALARM_PRIOR = (1.5, 25.5)  # mode 0.02


class ErrorRates(nn.Module):
    """Miss rate and false-alarm rate of each annotator, as logits [annotators].

    Attributes:
        observed: [annotators, 2, 2] answers about images of known classes: of exceptions, then of right images, the number of
            errors (unmarked, marked) and of the others.
    """

    def __init__(self, observed: Tensor) -> None:
        super().__init__()
        modes = [(a - 1) / (a + b - 2) for a, b in (MISS_PRIOR, FALSE_ALARM_PRIOR)]
        logits = torch.logit(torch.tensor(modes)).repeat(len(observed), 1)
        self.logit_miss, self.logit_false_alarm = (nn.Parameter(logits[:, n].clone()) for n in range(2))
        self.observed: Tensor
        self.register_buffer("observed", observed.float(), persistent=False)

    @property
    def logits(self) -> tuple[Tensor, Tensor]:
        return self.logit_miss, self.logit_false_alarm


class GridLikelihood(Likelihood):
    """P(unmarked) = q (1 - false-alarm rate) + (1 - q) miss rate, with q = softmax_a r(x, .) of the page's class (METHOD 1)."""

    name = "grid"
    reward_axis = "reward of the page's class"
    has_errors = True

    def log_p(self, parameters: Any, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        own = utilities[images[:, 0]]
        total, label = own.logsumexp(-1), classes[:, :1]
        others = own.scatter(1, label, -torch.inf).logsumexp(-1)
        return torch.stack([others - total, own.gather(1, label)[:, 0] - total], dim=-1)

    def errors(self, observed: Tensor) -> ErrorRates:
        return ErrorRates(observed)

    def with_errors(self, errors: ErrorRates, log_p: Tensor, annotator: Tensor) -> Tensor:
        miss, alarm = (logit.to(log_p)[annotator] for logit in errors.logits)
        wrong, right = log_p.unbind(-1)
        marked = torch.logaddexp(wrong + logsigmoid(-miss), right + logsigmoid(alarm))
        unmarked = torch.logaddexp(wrong + logsigmoid(miss), right + logsigmoid(-alarm))
        return torch.stack([marked, unmarked], dim=-1)

    def log_prior(self, errors: ErrorRates) -> Tensor:
        """log density of both Beta priors, with what was observed on images of known classes."""
        total = torch.zeros(())
        for number, (logit, (a, b)) in enumerate(zip(errors.logits, (MISS_PRIOR, FALSE_ALARM_PRIOR), strict=True)):
            wrong, right = errors.observed[:, number].to(logit).unbind(-1)
            total = total + ((a - 1 + wrong) * logsigmoid(logit) + (b - 1 + right) * logsigmoid(-logit)).sum()
        return total

    def error_rates(self, errors: ErrorRates) -> dict[str, Tensor]:
        miss, alarm = (torch.sigmoid(logit.detach()) for logit in errors.logits)
        return {"miss_rate": miss, "false_alarm_rate": alarm}

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        return f"on a page of {names[int(classes[0])]}: {TILE_ANSWERS[answer]}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        asked = rewards[rows[:, 0], classes[:, 0]]
        return {name: asked[answer == number] for number, name in enumerate(TILE_ANSWERS)}


class Grid(JudgmentKind):
    """Which images of a page are not of its class?

    Args:
        tiles: images on a page.
    """

    name = "grid"
    schema = GRID
    likelihood = GridLikelihood()
    script = (PAGE / "layout.js").read_text(encoding="utf-8")
    page_files: ClassVar[Mapping[str, str]] = {
        file.name: file.read_text(encoding="utf-8") for file in sorted(PAGE.iterdir()) if file.is_file()
    }
    small_images = True

    def __init__(self, tiles: int = 24) -> None:
        self.rows_per_question = tiles

    def configured(self, settings: CollectConfig) -> Grid:
        return Grid(settings.grid_tiles)

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        return PAGE_SECONDS + TILE_SECONDS * images + MARK_SECONDS * marks

    def count_marks(self, answer: str) -> int:
        return 0 if answer in NO_ANSWER else len(read_page_answer(answer)[1])

    def questions_shown(self, rows: pd.DataFrame, classes: int) -> pd.DataFrame:
        """One line per page; its seconds are stored with its first image."""
        milliseconds = rows["response_ms"].replace("", "nan").astype(float)
        each = rows[["annotator"]].assign(
            page=rows["id"].map(lambda row: row.rpartition(":")[0] if page_row(row) else row),
            seconds=milliseconds / 1000,
            marked=rows["answer"] == MARKED,
        )
        pages = each.groupby("page", sort=False)
        usual = [self.usual_seconds(classes, len(one), int(one["marked"].sum())) for _, one in pages]
        return pd.DataFrame(
            {"annotator": pages["annotator"].first(), "seconds": pages["seconds"].max(), "usual": usual}
        ).reset_index(drop=True)

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        rows, labels = draw_pages(pool, count, self.rows_per_question, log_policy, random)
        return Queries(self.name, rows, labels[:, None])

    def suited(self, log_policy: Tensor) -> Tensor | None:
        return informative(log_policy)

    def arrange(self, rows: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        tiles = self.rows_per_question
        pages, labels, left = fill_pages(rows, count, tiles, log_policy, random)
        if missing := count - len(pages):
            rest = torch.unique(left[: missing * tiles]) if len(left) >= tiles else torch.unique(rows)
            drawn = self.draw(rest, missing, log_policy, random)
            pages = torch.cat([pages, drawn.rows]) if len(pages) else drawn.rows
            labels = torch.cat([labels, drawn.labels[:, 0]])
        return Queries(self.name, pages, labels[:, None])

    def with_gold_tiles(self, queries: Queries, gold: GoldLabels, share: float, random: torch.Generator) -> Queries:
        """Replace that share of every page, at least one image; half of these are of the page's class, if there are."""
        labels, rows = torch.from_numpy(gold.labels), queries.rows.clone()
        known = torch.from_numpy(np.flatnonzero(gold.labels >= 0))
        hidden = min(max(1, round(share * rows.shape[1])), len(known), rows.shape[1])
        for page, label in zip(rows, queries.labels[:, 0].tolist(), strict=True):
            order = known[torch.randperm(len(known), generator=random)]
            right, wrong = order[labels[order] == label], order[labels[order] != label]
            half = (hidden + int(torch.randint(2, (1,), generator=random))) // 2  # of an odd number, either half
            tiles = torch.cat([right[:half], wrong, right[half:]])[:hidden]
            page[torch.randperm(len(page), generator=random)[:hidden]] = tiles
        return Queries(self.name, rows, queries.labels)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        label = subject.labels[0]
        return Screen(f'Which of these are not "{label}"?', subject.images, (), details={"label": label})

    def answer_text(self, answer: str, screen: Screen) -> str:
        """Class and places of the exceptions, from 1: `bee without 4, 8`."""
        try:
            label, marked = read_page_answer(answer)
        except ValueError:
            return answer
        return f"{label} without {', '.join(str(place + 1) for place in marked)}" if marked else f"all are {label}"

    def page_details(self, settings: ScreenSettings) -> Mapping[str, Any]:
        return {"classes": settings.classes}

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        few = len(settings.classes) <= MAX_DIGITS
        return [
            KeyHelp(("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"), "go to a tile"),
            KeyHelp((" ",), "mark the tile as an exception, or take the mark back; so does the letter on a tile"),
            KeyHelp(("Enter",), "confirm the page"),
            KeyHelp(("0", "…", str(len(settings.classes) - 1)) if few else ("/",), "change the class of the page"),
        ]

    def is_valid(self, answer: str, subject: Subject, settings: ScreenSettings) -> bool:
        try:
            label, marked = read_page_answer(answer)
        except ValueError:
            return False
        return label in settings.classes and (not marked or marked[-1] < len(subject.images))

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """The exceptions, with misses and false alarms; the class is changed if most of the page is of another one."""
        gold, p, random = simulation.gold, simulation.parameters, simulation.random
        miss = p.eps_mistake if p.miss_rate is None else p.miss_rate
        alarm = p.eps_mistake if p.false_alarm_rate is None else p.false_alarm_rate
        answers = []
        for rows, asked in zip(queries.rows.numpy(), queries.labels[:, 0].tolist(), strict=True):
            truth = gold.labels[rows]
            values, counts = np.unique(truth, return_counts=True)
            label = int(values[counts.argmax()]) if 2 * counts.max() > len(rows) else asked
            error = random.random(len(rows)) < np.where(truth == label, alarm, miss)
            answers.append(page_answer(gold.classes[label], np.flatnonzero((truth != label) ^ error).tolist()))
        return answers

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        numbers = {MARKED: MARK, UNMARKED: LEAVE}
        return columns.images("image"), columns.classes("label"), columns.answers(numbers)

    def observed_errors(self, frame: pd.DataFrame, truth: pd.Series, annotator: np.ndarray, annotators: int) -> Tensor:
        """[annotators, 2, 2]: of exceptions, then of right images, the number of errors and of others."""
        counts = np.zeros((annotators, 2, 2))
        known = truth.notna().to_numpy()
        right = (truth == frame["label"]).to_numpy()
        correct = self.schema.correct(frame, truth).to_numpy() == 1
        np.add.at(counts, (annotator[known], right[known].astype(int), correct[known].astype(int)), 1)
        return torch.from_numpy(counts)
