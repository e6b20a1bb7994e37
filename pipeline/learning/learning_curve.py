"""How much accuracy another minute of answering is expected to bring: a learning curve fitted to rounds (docs/live.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_POINTS, MIN_IMAGES = 3, 10  # below, the shape of the curve is a guess
DRAWS = 400  # of the Bayesian bootstrap
POWERS = (0.5, 1.0, 2.0, 8.0)  # the last is nearly exponential
SCALES = (1 / 30, 1 / 10, 1 / 3, 1.0, 3.0, 10.0)  # of the seconds so far
LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Gain:
    """Expected rise of the accuracy: mean and 95 % interval, each at least 0."""

    gain: float
    low: float
    high: float


def forecast_gain(
    seconds: Sequence[float],
    agreement: np.ndarray,
    ahead: float,
    *,
    classes: int,
    error: float = 0.0,
    seed: int = 0,
) -> Gain | None:
    """The rise of the accuracy in the next `ahead` seconds, if answering goes on as before.

    accuracy(s) = A - B (1 + s / tau)^-p with B >= 0 and A <= 1 is fitted to the rounds' accuracies by least squares, for
    each tau and p of a grid, under weights of the audited images from a Dirichlet distribution (Rubin 1981). All rounds
    share these weights, since they are measured on the same images. A fit of each draw is chosen in proportion to its
    likelihood.

    Args:
        seconds: [K] spent before each policy, ascending; the first is usually the reference at 0.
        agreement: [n, K] share of the answers about each audited image that agree with each policy.
        ahead: seconds.
        classes: number of classes.
        error: share of answers that are mistakes.

    Returns:
        None with fewer than MIN_POINTS policies or MIN_IMAGES images.
    """
    spent = np.asarray(seconds, dtype=float)
    images, points = agreement.shape
    if points < MIN_POINTS or images < MIN_IMAGES or spent[-1] <= 0:
        return None
    random = np.random.default_rng(seed)
    by_chance = error / (classes - 1)  # an answer agrees with a wrong policy by mistake
    scale = 1 - error - by_chance
    accuracy = (random.dirichlet(np.ones(images), DRAWS) @ agreement - by_chance) / max(scale, 0.1)  # [draws, K]
    shapes = [(spent[-1] * tau, power) for tau in SCALES for power in POWERS]
    remaining = np.stack([(1 + spent / tau) ** -power for tau, power in shapes])  # [shapes, K]
    later = np.array([(1 + (spent[-1] + ahead) / tau) ** -power for tau, power in shapes])
    slope, residual = _fits(accuracy, remaining)
    # Rounds differ by the images whose answer changed between them, half of that variance for each of the two.
    noise = float((np.diff(agreement, axis=1).var(0).mean() / 2 + 1 / images) / images / max(scale, 0.1) ** 2)
    log_weight = -residual / (2 * noise)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    chosen = (weight.cumsum(1) / weight.sum(1, keepdims=True) > random.random((DRAWS, 1))).argmax(1)
    gains = (slope * (remaining[:, -1] - later))[np.arange(DRAWS), chosen]
    room = 1 - accuracy[:, -1].clip(0, 1)
    gains = np.minimum(gains, room)
    low, high = np.quantile(gains, LEVELS)
    return Gain(float(gains.mean()), float(low), float(high))


def _fits(accuracy: np.ndarray, remaining: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B and the sum of squared residuals, each [draws, shapes], of the best A - B h with B >= 0 and A <= 1."""
    y, h = accuracy[:, None, :], remaining[None, :, :]
    centred = h - h.mean(-1, keepdims=True)
    slope = -(centred * y).sum(-1) / (centred**2).sum(-1)
    slope = np.maximum(slope, 0)
    limit = y.mean(-1) + slope * h.mean(-1)
    capped = np.maximum((h * (1 - y)).sum(-1) / (h**2).sum(-1), 0)
    slope = np.where(limit > 1, capped, slope)
    limit = np.minimum(limit, 1)
    return slope, ((y - (limit[..., None] - slope[..., None] * h)) ** 2).sum(-1)
