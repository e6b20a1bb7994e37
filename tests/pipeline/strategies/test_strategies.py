"""Which images the query strategies choose, on few images in a plane."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.kinds import kinds
from pipeline.strategies import Candidates, strategies
from pipeline.strategies.answer_gaps import distinct
from pipeline.strategies.base import filled
from pipeline.strategies.herding import herd, kernel_rank
from pipeline.strategies.uncertainty import disagreement, entropy, margin
from tests.support.plane import UNIFORM, candidates, chosen, sampled


def test_typical_images_are_the_middles_of_clusters() -> None:
    """The largest cluster first; the centre of the first is (0.125, 0.125), to which (0.2, 0) and (0, 0.2) are nearest."""
    first, second, third = chosen("typical", 3, candidates())
    assert first in (1, 2)
    assert (second, third) == (4, 7)


def test_clusters_with_a_judged_image_come_last() -> None:
    assert chosen("typical", 2, candidates(judged=(0,)))[0] in (4, 7)
    assert set(chosen("typical", 2, candidates(judged=(0,)))) == {4, 7}


@pytest.mark.parametrize(
    "name", ["uniform", "typical", "k_center", "margin", "k_center_entropy", "expected_gain", "near_tie"]
)
def test_more_questions_than_images(name: str) -> None:
    asked = chosen(name, 11, candidates(judged=(3,), samples=sampled()))
    assert len(asked) == 11
    assert set(asked) == set(range(8)), "images that were judged are asked about again once no other is left"


def test_k_center_goes_to_the_farthest() -> None:
    """From (0, 0): (10.1, 0) is farthest; then (0, 10); then (0.3, 0.3)."""
    assert chosen("k_center", 3, candidates(judged=(0,))) == [5, 7, 3]


def test_scores_by_hand() -> None:
    given = candidates(samples=sampled())
    h = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01))
    assert entropy(given)[[0, 2, 5]].tolist() == pytest.approx([h, math.log(2), math.log(2)], abs=1e-6)
    assert disagreement(given)[[0, 2, 5]].tolist() == pytest.approx([0.0, 0.0, math.log(2) - h], abs=1e-6)
    assert margin(given)[[0, 2, 5]].tolist() == pytest.approx([-0.98, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("disagreement", {5}), ("entropy", {2, 5}), ("margin", {2, 5})])
def test_uncertain_images_are_asked_about(name: str, expected: set[int]) -> None:
    assert set(chosen(name, len(expected), candidates(samples=sampled()))) == expected


def test_uncertain_images_far_from_each_other() -> None:
    """Ten times as many images as questions are all eight: k-center alone chooses among them."""
    given = candidates(samples=sampled(), judged=(0,))
    assert chosen("k_center_entropy", 2, given) == chosen("k_center", 2, candidates(judged=(0,))) == [5, 7]


def test_without_a_model_uncertain_means_typical() -> None:
    assert chosen("entropy", 3, candidates()) == chosen("typical", 3, candidates())


@pytest.mark.parametrize("kind", ["comparison", "verdict", "rating"])
def test_labels_are_drawn_where_the_kind_asks_about_them(kind: str) -> None:
    queries = strategies.get("k_center").choose(kinds.get(kind), 3, candidates(judged=(0,)))
    assert queries.rows[:, 0].tolist() == [5, 7, 3]
    assert queries.labels.shape[0] == 3


def test_images_that_were_judged_are_not_asked_about_again() -> None:
    given = candidates(samples=sampled(), judged=(2,))
    assert 2 not in chosen("entropy", 7, given)


def test_expected_gain_without_a_model() -> None:
    """Every image counts 1: the middle of the denser cluster, one of the wider one, then the image that is alone.

    The kernel's width is the usual squared distance to the nearest image, as if each question was to stand for few.
    """
    first, second, third = chosen("expected_gain", 3, candidates())
    assert second in (0, 1, 2, 3)
    assert (first, third) == (4, 7)
    assert chosen("expected_gain", 2, candidates(judged=(0,))) == [4, 7]


def test_expected_gain_by_hand() -> None:
    """Three images in a row at 0, 1 and 3; the squared distances to the neighbour of rank 2 are 9, 4 and 9: width 9.

    With k = exp(-d^2 / 18), the gain of an image is the sum of w k. With weights 1, 1, 1 the middle one is worth
    0.946 + 1 + 0.801 = 2.747, the first 1 + 0.946 + 0.607 and the last 0.607 + 0.801 + 1.
    Given the middle, the first adds 1 - 0.946, the last 1 - 0.801. With weights 9, 1, 1 the first is worth most.
    """
    x = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    nothing, every = np.empty((0, 1), dtype=np.float32), np.ones(3, dtype=bool)
    assert herd(x, nothing, np.ones(3), every, 3, 2) == [1, 2, 0]
    assert herd(x, nothing, np.array([9.0, 1.0, 1.0]), every, 1, 2) == [0]
    assert herd(x, x[1:2], np.array([9.0, 1.0, 1.0]), every, 1, 2) == [0]  # 9 * 0.054 against 0.199
    assert herd(x, x[1:2], np.array([3.0, 1.0, 1.0]), every, 1, 2) == [2]  # 3 * 0.054 against 0.199
    assert herd(x, nothing, np.ones(3), np.array([True, False, True]), 3, 2) == [0, 2]
    assert herd(x, x[1:2], np.ones(3), every, 1, 1) == [2]


def test_the_more_is_judged_the_narrower_the_kernel() -> None:
    """5,000 images: with 25 judged 100 per judged one, at most 10; with 500 ten, of which half; with 2,500 two."""
    assert [kernel_rank(5000, judged) for judged in (0, 25, 500, 1000, 2500, 9000)] == [10, 10, 5, 2, 1, 1]
    assert kernel_rank(2, 1) == 1


def test_doubt_counts_by_its_square() -> None:
    """One image whose likeliest classes differ by 0.1 is worth 0.9^2 = 0.81; far from it, six images that are alike, of
    difference 0.5, are worth 6 (1 - 0.5)^2 = 1.5, but three of them 0.75 (without the square 1.5 against 0.9).
    """
    for alike, the_alike_first in ((6, True), (3, False)):
        p = torch.tensor([[0.75, 0.25]] * alike + [[0.55, 0.45]])
        x = np.array([[0.0]] * alike + [[100.0]], dtype=np.float32)
        given = Candidates(
            torch.arange(alike + 1),
            p.log(),
            torch.Generator().manual_seed(0),
            predicted=p.log(),
            represent=lambda x=x: x,
        )
        asked = chosen("expected_gain", 1, given)[0]
        assert (asked < alike) == the_alike_first


def test_where_the_model_is_sure_nothing_is_gained() -> None:
    """Images 2 and 5 are the only doubtful ones; both are covered by being asked about."""
    given = candidates(samples=sampled(), judged=(0, 4, 7))
    assert set(chosen("expected_gain", 2, given)) <= {1, 2, 3, 5, 6}
    assert chosen("expected_gain", 1, given)[0] in (2, 3)


def test_features_that_nobody_gave() -> None:
    with pytest.raises(UserError, match=r"collect\.strategy"):
        chosen("k_center", 1, Candidates(torch.arange(8), UNIFORM, torch.Generator().manual_seed(0)))


def test_new_images_come_before_judged_ones() -> None:
    """Five of eight were judged: the three others are asked about first, by every strategy that fills up."""
    for name in ("uniform", "margin", "expected_gain", "k_center", "near_tie"):
        asked = chosen(name, 5, candidates(samples=sampled(), judged=(0, 1, 2, 3, 4)))
        assert {5, 6, 7} <= set(asked), name
        assert len(set(asked)) == 5, name


def test_what_fills_up_was_not_judged_as_long_as_there_is_any() -> None:
    given = candidates(judged=(0, 1, 2, 3, 4))
    rows = filled(torch.tensor([5]), 4, given).tolist()
    assert rows[0] == 5
    assert set(rows[1:3]) == {6, 7}
    assert rows[3] in (0, 1, 2, 3, 4)


@pytest.mark.parametrize("name", ["uniform", "typical", "k_center", "expected_gain", "margin", "near_tie"])
def test_every_image_is_asked_again_before_any_is_a_third_time(name: str) -> None:
    """All eight were asked about; four rounds of two questions ask about each of them once more."""
    times = torch.ones(8, dtype=torch.long)
    for _ in range(4):
        given = replace(candidates(samples=sampled(), judged=tuple(range(8))), times=times.clone())
        times[chosen(name, 2, given)] += 1
    assert times.tolist() == [2] * 8


@pytest.mark.parametrize("kind", ["comparison", "verdict", "image_comparison"])
@pytest.mark.parametrize("name", ["near_tie", "large_gap"])
def test_gaps_with_few_images_that_nobody_judged(name: str, kind: str) -> None:
    """One of eight is left, and others join it: four questions are four different ones."""
    asked = strategies.get(name).choose(kinds.get(kind), 4, candidates(samples=sampled(), judged=tuple(range(7))))
    assert len(distinct(asked)) == len(asked) == 4
