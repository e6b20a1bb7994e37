"""Strategies that need no model: typical images of clusters (Hacohen et al. 2022), and k-center (Sener and Savarese 2018)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, about, images_of, images_ranked, seed_of

MANY = 20_000  # images from which clusters are found in minibatches
MAX_CLUSTERS = 500


class Typical:
    """The image nearest to the centre of each cluster; clusters without a judged image first, the largest first."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        return about(kind, typical_rows(candidates, images_of(kind, count)), count, candidates)


def typical_rows(candidates: Candidates, count: int) -> Tensor:
    """`count` row numbers; as many clusters as images were judged and are asked for, at most MAX_CLUSTERS."""
    pool, left = candidates.pool, candidates.fresh()
    judged = candidates.covered[torch.isin(candidates.covered, pool)]
    chosen: list[int] = []
    while len(chosen) < count:
        clusters = min(len(judged) + count, MAX_CLUSTERS, len(pool))
        chosen += _representatives(candidates, clusters, judged, left)[: count - len(chosen)]
        taken = torch.tensor(chosen, dtype=torch.long)
        judged, left = torch.unique(torch.cat([judged, taken])), left[~torch.isin(left, taken)]
        if not len(left):
            left = pool  # everything was asked about: again
    return torch.tensor(chosen, dtype=torch.long)


def _representatives(candidates: Candidates, clusters: int, judged: Tensor, left: Tensor) -> list[int]:
    """One row of each cluster that has any in `left`: first those of clusters without a judged image, largest first."""
    from sklearn.cluster import KMeans, MiniBatchKMeans  # slow to import: only where they are needed

    pool = candidates.pool
    x = candidates.features[pool.numpy()]
    kind = MiniBatchKMeans if len(pool) > MANY else KMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct images than clusters
        found = kind(clusters, n_init=1, random_state=seed_of(candidates.random)).fit(x)
    open_, known = torch.isin(pool, left).numpy(), torch.isin(pool, judged).numpy()
    ranked = []
    for number, centre in enumerate(found.cluster_centers_):
        members = np.flatnonzero(found.labels_ == number)
        free = members[open_[members]]
        if len(free):
            nearest = free[np.argmin(((x[free] - centre) ** 2).sum(1))]
            ranked.append((bool(known[members].any()), -len(members), int(pool[nearest])))
    return [row for _, _, row in sorted(ranked)]


class KCenter:
    """The image farthest from all that were judged or chosen, again and again (B-Pref's feed type 3)."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        candidates = candidates.suited_to(kind, count)
        rows = k_center(candidates, candidates.fresh(), images_ranked(kind, count))
        return about(kind, rows, count, candidates)


def k_center(candidates: Candidates, rows: Tensor, count: int) -> Tensor:
    """`count` of the row numbers `rows`, each farthest from what was judged and chosen before; at most all of them."""
    if not count:
        return rows[:0]
    x = candidates.features[rows.numpy()]
    if len(candidates.covered):
        nearest = _distance_to(x, candidates.features[candidates.covered.numpy()])
    else:
        first = int(torch.randint(len(rows), (1,), generator=candidates.random))
        nearest = ((x - x[first]) ** 2).sum(1)
        nearest[first] = np.inf
    chosen = []
    for _ in range(min(count, len(rows))):
        at = int(nearest.argmax())
        chosen.append(at)
        nearest = np.minimum(nearest, ((x - x[at]) ** 2).sum(1))
        nearest[at] = -1.0  # never again
    return rows[torch.tensor(chosen, dtype=torch.long)]


def _distance_to(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of each of x [P, D] to the nearest of `others` [J, D]."""
    nearest = np.full(len(x), np.inf, dtype=np.float64)
    for part in np.array_split(others, -(-len(others) // 256)):
        squares = (x**2).sum(1)[:, None] - 2 * x @ part.T + (part**2).sum(1)
        nearest = np.minimum(nearest, squares.min(1))
    return nearest.clip(min=0.0)
