"""Query strategies of segments: what each score is, and what is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.control.feeds import SegmentCandidates, disagreement, entropy, feeds, k_center

# Four pairs, two networks: returns [C, I, M]. The networks disagree about 1, both are unsure about 2, and sure about 0 and 3.
RETURNS = torch.tensor(
    [[[4.0, 4.0], [0.0, 0.0]], [[4.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [5.0, 5.0]]]
)
FEATURES = np.array([[0.0], [1.0], [10.0], [4.0]])
CANDIDATES = SegmentCandidates(RETURNS, FEATURES)


def test_disagreement_is_the_spread_of_the_networks_probabilities() -> None:
    p = 1 / (1 + np.exp(-4.0))
    assert disagreement(CANDIDATES).tolist() == pytest.approx([0, (p - (1 - p)) / 2, 0, 0], abs=1e-6)


def test_entropy_is_that_of_the_mean_probability() -> None:
    p = 1 / (1 + np.exp(-4.0))
    sure = -p * np.log(p) - (1 - p) * np.log(1 - p)
    found = entropy(CANDIDATES)
    assert found[:3].tolist() == pytest.approx([sure, np.log(2), np.log(2)], abs=1e-6)


def test_ratings_have_one_segment() -> None:
    candidates = SegmentCandidates(torch.tensor([[[1.0, 1.0]], [[1.0, 5.0]]]), FEATURES[:2])
    assert disagreement(candidates).tolist() == entropy(candidates).tolist() == pytest.approx([0.0, 2.0])


def test_k_center_takes_the_farthest() -> None:
    assert k_center(FEATURES, 3).tolist() == [2, 0, 3]
    assert sorted(k_center(FEATURES, 9).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uniform", [0, 1]),
        ("disagreement", [1, 0]),
        ("entropy", [1, 2]),
        ("k_center", [2, 0]),
        ("k_center_disagreement", [2, 0]),
        ("k_center_entropy", [2, 0]),
    ],
)
def test_what_is_asked(name: str, expected: list[int]) -> None:
    assert feeds.get(name)(2, CANDIDATES).tolist() == expected


@pytest.mark.parametrize("name", ["disagreement", "entropy", "k_center_entropy"])
def test_without_a_model_questions_are_random(name: str) -> None:
    assert feeds.get(name)(2, SegmentCandidates(None, FEATURES)).tolist() == [0, 1]
