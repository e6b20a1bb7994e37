"""Metrics of predictions and their intervals: accuracy, calibration, paired differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.gold_labels import GoldLabels

CALIBRATION_BINS = 15
UNIFORM_TOLERANCE = 1e-4  # probabilities that differ by less count as equal
UNIFORM_SHARE = 0.95  # minimum share of images with equal probabilities for a policy to count as uniform


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion."""
    from scipy import stats  # slow to import: only where it is needed

    interval = stats.binomtest(successes, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of one value per seed [S], and half of its 95 % t interval; NaN for a single seed."""
    from scipy import stats  # slow to import: only where it is needed

    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(half)


def gold_accuracy(scores: Tensor, gold: GoldLabels, rows: np.ndarray) -> float | None:
    """Share of rows whose highest score, of scores [N, C], is the true class; None if no row has a gold label."""
    rows = rows[gold.known[rows]]
    if not len(rows):
        return None
    return float((scores[rows].argmax(-1).numpy() == gold.labels[rows]).mean())


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int) -> dict[str, Any]:
    """ECE over equal-width bins of the highest probability (Guo et al. 2017), and the non-empty bins.

    Args:
        confidence: [N] highest probabilities.
        correct: [N] bool, whether that class is the true one.

    Returns:
        `ece` in 0..1; `bins`: mean confidence, accuracy and count of each.
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    right, sure = np.bincount(which, correct, bins), np.bincount(which, confidence, bins)
    full = count > 0
    return {
        "ece": float(np.abs(right - sure).sum() / max(1, len(confidence))),
        "bins": [
            {"confidence": s / n, "accuracy": r / n, "count": int(n)}
            for s, r, n in zip(sure[full], right[full], count[full], strict=True)
        ],
    }


def expected_calibration_error(log_probs: Tensor, labels: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """ECE of log-probabilities [N, C] against labels [N], in 0..1."""
    confidence, predicted = log_probs.exp().max(-1)
    return float(reliability(confidence.numpy(), (predicted == labels).numpy(), bins)["ece"])


def is_uniform(log_probs: Tensor) -> bool:
    """Whether a policy, log-probabilities [N, C], is uniform over the classes on nearly every image.

    Its most likely class is then arbitrary, and so is its accuracy.
    """
    probabilities = log_probs.exp()
    uniform = probabilities.amax(-1) - probabilities.amin(-1) < UNIFORM_TOLERANCE
    return bool(uniform.double().mean() >= UNIFORM_SHARE)


@dataclass(frozen=True)
class Paired:
    """Two classifiers on the same images.

    Attributes:
        gained, lost: number of images that only the second, or only the first, classifies correctly.
        difference, low, high: of the accuracies, second minus first, with its 95 % interval: Wald's with Bonett and
            Price's (2012) Laplace adjustment, recommended for paired proportions by Fagerland et al. (2014).
        p: of McNemar's exact test, two-sided.
    """

    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p: float


def paired_difference(first: np.ndarray, second: np.ndarray) -> Paired:
    """Difference in accuracy of two classifiers, both [N] bool (whether right) on the same N > 0 images."""
    from scipy import stats  # slow to import: only where it is needed

    gained, lost, n = int((second & ~first).sum()), int((first & ~second).sum()), len(first)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = stats.norm.ppf(0.975) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    return Paired(gained, lost, (gained - lost) / n, float(low), float(high), p)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the log loss of logits / temperature, between 1/20 and 20."""
    from scipy.optimize import minimize_scalar

    logits = logits.double()

    def log_loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))
