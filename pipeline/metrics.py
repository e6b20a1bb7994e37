"""How good predictions are: accuracy with its interval, log loss, calibration."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from scipy.optimize import minimize_scalar
from torch import Tensor

from pipeline.gold import GoldLabels


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion."""
    interval = stats.binomtest(successes, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of one figure a seed [S], and half of its 95 % t interval; NaN for a single seed."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(half)


def gold_accuracy(scores: Tensor, gold: GoldLabels, rows: np.ndarray) -> float | None:
    """Share of rows whose highest score is the true class; None where no row has a gold label."""
    rows = rows[gold.known[rows]]
    if not len(rows):
        return None
    return float((scores[rows].argmax(-1).numpy() == gold.labels[rows]).mean())


def expected_calibration_error(log_probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """ECE with equal-width bins of the highest probability (Guo et al. 2017), in 0..1."""
    confidence, predicted = log_probs.exp().max(-1)
    correct = (predicted == labels).double()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.double).index_add_(0, which, correct - confidence.double())
    return float(gap.abs().sum() / len(labels))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the log loss of logits / temperature, between 1/20 and 20."""
    logits = logits.double()

    def log_loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))
