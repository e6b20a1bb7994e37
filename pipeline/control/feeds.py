"""Query strategies for segments: which of many random questions to ask (B-Pref's feed types, Lee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from feedback_store.registry import Registry

MORE = 5  # times as many uncertain candidates as questions are spread by k-center


@dataclass(frozen=True, eq=False)
class SegmentCandidates:
    """Random questions to choose from, C of them.

    Attributes:
        returns: [C, I, M] returns of their segments by each network; None before the first reward model.
        features: [C, F] what happens in them, standardised.
    """

    returns: Tensor | None
    features: np.ndarray


Feed = Callable[[int, SegmentCandidates], np.ndarray]
"""Positions of `count` of the candidates."""


def prob_a(returns: Tensor) -> Tensor:
    """[C, M] probability, by each network, that the first of two segments is better."""
    return torch.sigmoid(returns[:, 0] - returns[:, 1])


def disagreement(candidates: SegmentCandidates) -> Tensor:
    """[C] standard deviation over the networks of P(a is better), or of the return where there is one segment."""
    assert candidates.returns is not None
    two = candidates.returns.shape[1] > 1
    return (prob_a(candidates.returns) if two else candidates.returns[:, 0]).std(1, correction=0)


def entropy(candidates: SegmentCandidates) -> Tensor:
    """[C] entropy of the networks' mean P(a is better), in nats; one segment has none, so the networks' disagreement."""
    assert candidates.returns is not None
    if candidates.returns.shape[1] == 1:
        return disagreement(candidates)
    p = prob_a(candidates.returns).mean(1).clamp(1e-9, 1 - 1e-9)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def k_center(features: np.ndarray, count: int) -> np.ndarray:
    """Positions of `count` rows of [C, F], greedily: each next one is farthest from those chosen (Sener and Savarese 2018)."""
    chosen = [int(np.square(features - features.mean(0)).sum(1).argmax())]
    distance = np.square(features - features[chosen[0]]).sum(1)
    while len(chosen) < min(count, len(features)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(features - features[chosen[-1]]).sum(1))
    return np.array(chosen)


def uniform(count: int, candidates: SegmentCandidates) -> np.ndarray:
    """The first candidates: they are in random order."""
    return np.arange(count)


@dataclass(frozen=True)
class MostUncertain:
    """The candidates of the highest score; the first ones before there is a reward model.

    Attributes:
        score: of all candidates.
        spread: of several times as many, those that k-center chooses.
    """

    score: Callable[[SegmentCandidates], Tensor]
    spread: bool = False

    def __call__(self, count: int, candidates: SegmentCandidates) -> np.ndarray:
        if candidates.returns is None:
            return uniform(count, candidates)
        order = torch.argsort(self.score(candidates), descending=True, stable=True).numpy()
        if not self.spread:
            return np.asarray(order[:count])
        best = order[: MORE * count]
        return np.asarray(best[k_center(candidates.features[best], count)])


def only_k_center(count: int, candidates: SegmentCandidates) -> np.ndarray:
    return k_center(candidates.features, count)


feeds: Registry[Feed] = Registry("query strategy of control tasks", "image_rlhf.segment_strategies")
feeds.register("uniform", uniform)
feeds.register("disagreement", MostUncertain(disagreement))
feeds.register("entropy", MostUncertain(entropy))
feeds.register("k_center", only_k_center)
feeds.register("k_center_disagreement", MostUncertain(disagreement, spread=True))
feeds.register("k_center_entropy", MostUncertain(entropy, spread=True))
