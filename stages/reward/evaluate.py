"""Evaluation of a reward model on held-out judgments (docs/method.md 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.learning.statistics import reliability
from stages.reward.judgment_set import JudgmentSet

CHUNK = 65_536  # judgments evaluated at a time, so that memory grows with images, not with judgments
CALIBRATION_BINS = 10


@dataclass(frozen=True, eq=False)
class Predictions:
    """The model's prediction for each judgment, one row each [M].

    Attributes:
        kind, answer, annotator, image: of the judgment.
        predicted: the most probable answer.
        confidence: its probability.
        probability: of the answer that was given.
    """

    kind: np.ndarray
    answer: np.ndarray
    annotator: np.ndarray
    image: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.answer

    def where(self, mask: np.ndarray) -> Predictions:
        return Predictions(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))


@torch.no_grad()
def predict(
    members: Sequence[Any],
    utilities: Sequence[Tensor],
    images: Tensor,
    judgments: JudgmentSet,
    *,
    temperature: float = 1.0,
) -> Predictions:
    """Predictions by the mean of the members' probabilities.

    Args:
        members: each with its likelihood parameters as `latent`.
        utilities: [U, C] of `images`, one per member.
        images: [U] row numbers, ascending.
        temperature: divides the utilities.
    """
    parts: list[list[Tensor]] = []
    for number, _, own in judgments.by_likelihood():
        for chunk in torch.arange(len(own)).split(CHUNK):
            some = own.pick(chunk)
            each = [
                m.latent.log_p(number, u / temperature, images, some) for m, u in zip(members, utilities, strict=True)
            ]
            p = torch.stack([torch.log_softmax(log_p, -1) for log_p in each]).exp().mean(0)  # normalised per member
            confidence, predicted = p.max(-1)
            given = p.gather(-1, some.answer[:, None])[:, 0]
            parts.append([some.kind, some.answer, some.annotator, some.rows_a, predicted, confidence, given])
    return Predictions(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def accuracy_interval(correct: np.ndarray, image: np.ndarray) -> tuple[float, float, float]:
    """Accuracy and its 95 % Wilson interval, with the judgments of an image treated as a cluster.

    The number of judgments is divided by the design effect: the variance of the mean with clusters over that without.
    """
    from scipy.stats import norm  # slow to import: only where it is needed

    p, effect = float(correct.mean()), 1.0
    if 0 < p < 1:
        _, place = np.unique(image, return_inverse=True)
        sums = np.bincount(place, correct - p)
        effect = max(1.0, float((sums**2).sum()) / (len(correct) * p * (1 - p)))
    n, z = len(correct) / effect, float(norm.ppf(0.975))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, min(p, float(middle - half)), max(p, float(middle + half))  # at 0 and 1 rounding may cross p


def chance(judgments: JudgmentSet) -> float:
    """Accuracy of always giving a kind's most common answer; for comparisons, whose sides are random, of always one side."""
    right = sum(likelihood.correct_by_chance(own.answer) for _, likelihood, own in judgments.by_likelihood())
    return right / len(judgments)


def repeated_answers(judgments: JudgmentSet) -> pd.DataFrame:
    """How often each answer was given to each item that was judged more than once.

    Returns:
        columns item (number), answer and count: memory grows with judgments, not with classes.
    """
    parts, items = [], 0
    for _, likelihood, own in judgments.by_likelihood():
        asked, answer = likelihood.canonical(own.rows, own.classes, own.answer)
        frame = pd.DataFrame(asked.numpy())
        item = frame.groupby(list(frame.columns), sort=False).ngroup() + items
        items += int(item.nunique())
        parts.append(pd.DataFrame({"item": item, "answer": answer.numpy()}))
    given = pd.concat(parts).value_counts().rename("count").reset_index()
    return given[given.groupby("item")["count"].transform("sum") >= 2]


def ceiling(judgments: JudgmentSet) -> dict[str, float] | None:
    """The highest accuracy possible on these judgments (human ceiling), from items that were judged more than once.

    Returns:
        `plug_in`: mean share of the most common answer of an item (too high with few judgments per item);
        `leave_one_out`: how often an answer is the majority of the others' (too low); `judgments` and `items` counted.
        None if no item was judged twice.
    """
    given = repeated_answers(judgments)
    if not len(given):
        return None
    count = given["count"]
    best = count.groupby(given["item"]).transform("max")
    at_best = (count == best).groupby(given["item"]).transform("sum")
    second = count.where(count < best, 0).groupby(given["item"]).transform("max")
    at_second = ((count == second) & (second > 0)).groupby(given["item"]).transform("sum")
    alone = (count == best) & (at_best == 1)  # a unique majority: without one of its judgments it may be lost
    rival = second.where(alone, best)
    rivals = at_second.where(alone, at_best - (count == best))
    right = np.where(count - 1 > rival, 1.0, np.where(count - 1 == rival, 1 / (1 + rivals), 0.0))
    total = int(count.sum())
    return {
        "plug_in": float(count.groupby(given["item"]).max().sum() / total),
        "leave_one_out": float((right * count).sum() / total),
        "judgments": total,
        "items": int(given["item"].nunique()),
    }


def calibration(p: Predictions) -> dict[str, Any]:
    """ECE over ten equal-width bins of the most probable answer's probability, and the bins for a reliability diagram."""
    diagram = reliability(p.confidence, p.correct, CALIBRATION_BINS)
    bins = [
        {"confidence": b["confidence"], "accuracy": b["accuracy"], "judgments": b["count"]} for b in diagram["bins"]
    ]
    return {"ece": diagram["ece"], "bins": bins}


def fit_temperature(
    members: Sequence[Any], utilities: Sequence[Tensor], images: Tensor, judgments: JudgmentSet
) -> float:
    """The temperature of the utilities with the best log loss on these judgments, between 1/20 and 20."""

    from scipy.optimize import minimize_scalar  # slow to import: only where it is needed

    def log_loss(log_t: float) -> float:
        p = predict(members, utilities, images, judgments, temperature=float(np.exp(log_t))).probability
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-3}).x))


def predict_calibrated(
    members: Sequence[Any],
    utilities: Sequence[Tensor],
    images: Tensor,
    judgments: JudgmentSet,
    *,
    random: torch.Generator,
) -> tuple[Predictions, float, int]:
    """Two-fold calibration by image: each half is predicted at the temperature fitted on the other half.

    Returns:
        Predictions, the mean temperature, and the number of judgments of the smaller half that a temperature was fitted
        on (0 if none was fitted).
    """
    distinct = judgments.images
    half = distinct[torch.randperm(len(distinct), generator=random)[: len(distinct) // 2]]
    inside = torch.isin(judgments.rows_a, half)
    parts, temperatures, fitted_on = [], [], []
    for own, other in ((inside, ~inside), (~inside, inside)):
        if own.any() and other.any():
            fitted_on.append(int(other.sum()))
            temperatures.append(fit_temperature(members, utilities, images, judgments.pick(other)))
            parts.append(predict(members, utilities, images, judgments.pick(own), temperature=temperatures[-1]))
    if not parts:
        return predict(members, utilities, images, judgments), 1.0, 0
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Predictions.__dataclass_fields__]
    return Predictions(*joined), float(np.mean(temperatures)), min(fitted_on)


def breakdown(p: Predictions, judgments: JudgmentSet, classes: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """Accuracy with its interval by kind, by chosen class and by annotator."""

    def row(name: str, mask: np.ndarray) -> dict[str, object]:
        accuracy, low, high = accuracy_interval(p.correct[mask], p.image[mask])
        return {"name": name, "judgments": int(mask.sum()), "accuracy": accuracy, "low": low, "high": high}

    # Likelihoods whose answers are classes.
    of_classes = [n for n, one in enumerate(judgments.likelihoods) if one.answers_are_classes]
    labels = np.isin(p.kind, of_classes)
    return {
        "kinds": [row(judgments.likelihoods[kind].name, p.kind == kind) for kind in np.unique(p.kind)],
        "classes": [row(classes[c], labels & (p.answer == c)) for c in np.unique(p.answer[labels])],
        "annotators": [row(judgments.annotators[a], p.annotator == a) for a in np.unique(p.annotator)],
    }
