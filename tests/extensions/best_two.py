"""A judgment kind of another package, in one file: which two of four labels fit the image best?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from feedback_store.errors import FeedbackError
from feedback_store.records import NO_ANSWER, PerImage
from feedback_store.schemas import PerImageSchema, Problem, Subject
from pipeline.kinds import (
    Choice,
    Columns,
    JudgmentKind,
    KeyHelp,
    Likelihood,
    Queries,
    Screen,
    ScreenSettings,
    Simulation,
)
from pipeline.kinds.queries import draw_classes, spread_over

PAIRS = list(combinations(range(4), 2))  # an answer's number is that of its pair of places

# Keys 1 to 4 mark a label or take the mark back; Enter sends the two that are marked.
SCRIPT = """
export function layout({ task, box, choices, answer }) {
  const labels = [...new Set(choices.flatMap((choice) => choice.answer.split(" + ")))];
  const marked = new Set();
  const buttons = labels.map((label, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "choice";
    button.textContent = `${place + 1}: ${label}`;
    button.addEventListener("click", () => mark(label));
    return button;
  });
  function mark(label) {
    marked.has(label) ? marked.delete(label) : marked.add(label);
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", marked.has(labels[place])));
  }
  box.replaceChildren(...buttons);
  return (event) => {
    const label = labels[Number(event.key) - 1];
    if (label !== undefined) mark(label);
    else if (event.key === "Enter" && marked.size === 2) answer(labels.filter((one) => marked.has(one)).join(" + "));
    else return false;
    return true;
  };
}
"""


class BestTwoSchema(PerImageSchema):
    name = "best_two"
    asks = "which two of four labels fit the image best"
    several = True

    def check(self, judgment: PerImage) -> None:
        pairs = [f"{a} + {b}" for a, b in combinations(self.labels_in(judgment.label), 2)]
        if judgment.answer not in (*pairs, *NO_ANSWER):
            raise FeedbackError(f"answer is {judgment.answer!r}; it must be one of {', '.join(pairs)}")

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        fits = [
            answer in NO_ANSWER or set(answer.split(" + ")) <= set(self.labels_in(label))
            for answer, label in zip(frame["answer"], frame["label"], strict=True)
        ]
        yield Problem("answer", pd.Series(fits, index=frame.index, dtype=bool), "it must be two of the four labels")


class BestTwoLikelihood(Likelihood):
    """P of a pair of labels in proportion to the product of e^r of both."""

    name = "best_two"

    def count_answers(self, answer: Tensor, classes: int) -> int:
        return len(PAIRS)

    def log_p(self, parameters: Any, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        r = utilities[images[:, :1], classes[:, :4]]
        return torch.log_softmax(torch.stack([r[:, a] + r[:, b] for a, b in PAIRS], dim=1), dim=1)

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        four = [names[int(number)] for number in classes[:4]]
        return f"two of {', '.join(four)}? {' + '.join(four[place] for place in PAIRS[answer])}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        r, pairs = rewards[rows[:, :1], classes[:, :4]], torch.tensor(PAIRS)
        return {"marked": r.gather(1, pairs[answer]).flatten()}


class BestTwo(JudgmentKind):
    name = "best_two"
    schema = BestTwoSchema()
    likelihood = BestTwoLikelihood()
    script = SCRIPT

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        rows = spread_over(pool, count, random)
        return Queries(self.name, rows[:, None], draw_classes(rows, log_policy, 4, random).sort(dim=1).values)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        pairs = [f"{a} + {b}" for a, b in combinations(subject.labels, 2)]
        choices = tuple(Choice(pair, pair, number=place) for place, pair in enumerate(pairs, start=1))
        return Screen("Which two labels fit this image best?", subject.images, choices)

    def answers(self, settings: ScreenSettings) -> Collection[str]:
        return [f"{a} + {b}" for a, b in combinations(settings.classes, 2)]

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        return [KeyHelp(("1", "…", "4"), "mark a label"), KeyHelp(("Enter",), "send the two that are marked")]

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """The true class, if it is among the four, and the first of the others."""
        truth, classes = simulation.gold.labels[queries.rows[:, 0].numpy()], simulation.gold.classes
        ordered = [
            sorted(four, key=lambda number, true=true: number != true)
            for four, true in zip(queries.labels.tolist(), truth, strict=True)
        ]
        return [" + ".join(classes[number] for number in sorted(four[:2])) for four in ordered]

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        labels = [self.schema.labels_in(cell) for cell in columns.frame["label"]]
        pairs = [[f"{four[a]} + {four[b]}" for a, b in PAIRS] for four in labels]
        answer = [own.index(given) for own, given in zip(pairs, columns.frame["answer"], strict=True)]
        classes = columns.class_lists("label", self.schema.labels_in)
        return columns.images("image"), classes, torch.tensor(answer, dtype=torch.long)


KIND = BestTwo()
