"""Expected gain: the images whose answers are expected to tell most about all images (uncertainty herding).

Bae et al. 2025 ("Uncertainty Herding: One Active Learning Method for All Label Budgets"): an answer about an image tells
about others by how similar they are, most where the model is unsure. An image is worth

    sum over x of w(x) max(0, k(x, image) - max over the judged images of k(x, .)),

w being the square of the uncertainty, 1 minus the difference between the probabilities of the two likeliest classes.
Before the first reward model w is 1, and typical images of all regions come first (MaxHerding, Bae et al. 2024); as the
model learns, what matters is more and more where it is unsure. Images alike are not asked about twice, since the first
covers the others. The more images are judged, the fewer others each of them stands for, and the narrower is k.
"""

from __future__ import annotations

import heapq

import numpy as np
import torch
from torch import Tensor

from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, about, filled, images_of, images_ranked
from pipeline.strategies.uncertainty import margin

SAMPLE = 5000  # images of a larger pool among which the gain is computed and the questions are chosen
MAX_SAMPLE = 12_000  # of many questions; their similarities take 600 MB
MEASURED = 1000  # images whose neighbours' distances give the kernel's width
NEIGHBOUR = 10  # the kernel's width is the usual distance to the neighbour of that rank, or of a smaller one
SHARPNESS = 2  # power of the uncertainty; this and the ranks were chosen on CIFAR-10, seeds 100 to 111


class ExpectedGain:
    """Images in the order of their expected gain, each given those before it; all questions of a kind take equally long."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        candidates = candidates.suited_to(kind, count)
        rows = expected_gain_rows(candidates, images_ranked(kind, count), images_of(kind, count))
        return about(kind, rows, count, candidates)


def expected_gain_rows(candidates: Candidates, count: int, asked: int) -> Tensor:
    """Up to `count` row numbers of images that were asked about least often, the most valuable first.

    Args:
        asked: how many of them are asked about.
    """
    pool, fresh = candidates.pool, candidates.fresh()
    size = min(max(SAMPLE, 2 * count), MAX_SAMPLE)
    if len(pool) > size:
        pool = filled(fresh[torch.randperm(len(fresh), generator=candidates.random)], size, candidates).sort().values
    x = candidates.features[pool.numpy()]
    judged = candidates.features[candidates.covered.numpy()]
    weight = np.ones(len(pool))
    if candidates.predicted is not None:
        weight = (1 + margin(candidates)[pool].double().numpy()) ** SHARPNESS
    open_ = torch.isin(pool, fresh).numpy()
    chosen = herd(x, judged, weight, open_, count, kernel_rank(len(pool), len(judged) + asked))
    return pool[torch.tensor(chosen, dtype=torch.long)]


def kernel_rank(pool: int, judged: int) -> int:
    """Rank of the neighbour whose usual distance is the kernel's width: half of the images per judged one, 1 to NEIGHBOUR.

    Args:
        judged: images that are judged once the questions are answered.
    """
    return min(max(1, pool // (2 * max(1, judged))), NEIGHBOUR, pool - 1)


def herd(x: np.ndarray, judged: np.ndarray, weight: np.ndarray, open_: np.ndarray, count: int, rank: int) -> list[int]:
    """Positions in x [P, D] of up to `count` images by greedy choice, the most valuable first.

    The gain of an image can only shrink while others are chosen, so that most need not be computed again (Minoux 1978).

    Args:
        judged: [J, D] features of the images that were judged before.
        weight: [P] how much it matters to know of each image.
        open_: [P] whether it can be chosen.
        rank: the kernel's width is the usual distance to the neighbour of this rank.
    """
    kernel = _squared_distances(x, x)
    part = kernel[:: -(-len(x) // MEASURED)]
    width = float(np.median(np.partition(part, rank, axis=1)[:, rank])) or 1.0
    kernel /= np.float32(-2 * width)
    np.exp(kernel, out=kernel)
    covered = np.zeros(len(x), dtype=np.float32)
    for part in np.array_split(judged, -(-len(judged) // 1024) or 1):
        if len(part):
            covered = np.maximum(covered, np.exp(-_squared_distances(x, part).min(1) / (2 * width)))
    weight = weight.astype(np.float32)

    def gain(place: int) -> float:
        return float(weight @ np.maximum(kernel[:, place] - covered, 0))

    waiting = [(-gain(place), place) for place in np.flatnonzero(open_).tolist()]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while waiting and len(chosen) < count:
        _, place = heapq.heappop(waiting)
        now = -gain(place)
        if waiting and now > waiting[0][0]:
            heapq.heappush(waiting, (now, place))
            continue
        chosen.append(place)
        covered = np.maximum(covered, kernel[:, place])
    return chosen


def _squared_distances(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[P, Q] of features [P, D] and [Q, D]."""
    squares = x @ (-2 * others.T)
    squares += (x**2).sum(1)[:, None]
    squares += (others**2).sum(1)
    return np.maximum(squares, 0, out=squares)
