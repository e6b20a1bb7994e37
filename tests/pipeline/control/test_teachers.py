"""Simulated teachers of segments: B-Pref's formulas, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.control.config import SegmentTeacherConfig
from pipeline.control.teachers import SegmentTeacher, teacher_of

A, B = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])


def answers(
    teacher: SegmentTeacher, first: np.ndarray, second: np.ndarray, *, mean: float = 1.0, times: int = 1
) -> list[str]:
    many = [np.repeat(side, times, axis=0) for side in (first, second)]
    return teacher.compare(*many, mean, np.random.default_rng(0))


def test_an_oracle_prefers_the_larger_return_and_ties_equal_ones() -> None:
    better = np.array([[1.0, 1.0, 0.0]])
    assert answers(SegmentTeacher(), better, A) == ["a"]
    assert answers(SegmentTeacher(), A, better) == ["b"]
    assert answers(SegmentTeacher(), A, B) == ["tie"]


def test_a_myopic_teacher_counts_recent_rewards_more() -> None:
    teacher = SegmentTeacher(gamma=0.5)
    rewards = np.array([[4.0, 2.0, 1.0]])
    assert teacher.returns(rewards) == pytest.approx([4 * 0.25 + 2 * 0.5 + 1])
    assert answers(teacher, A, B) == ["b"]


def test_rationality_is_the_slope_of_bradley_terry() -> None:
    teacher = SegmentTeacher(beta=0.5)
    first, second = np.array([[3.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    assert teacher.prob_a(first, second) == pytest.approx([1 / (1 + np.exp(-1.0))])
    share = answers(teacher, first, second, times=4000).count("a") / 4000
    assert share == pytest.approx(1 / (1 + np.exp(-1.0)), abs=0.03)
    assert SegmentTeacher(beta=0.0).prob_a(first, second) == pytest.approx([0.5])


def test_one_answer_in_ten_is_a_mistake() -> None:
    found = answers(SegmentTeacher(eps_mistake=0.1), np.array([[1.0, 1.0, 0.0]]), A, times=5000)
    assert set(found) == {"a", "b"}
    assert found.count("b") / 5000 == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    ("mean", "returns", "expected"),
    [
        (10.0, (0.9, 0.5), "cant_tell"),  # both below 0.1 * 10
        (10.0, (1.1, 0.5), "a"),
        (-10.0, (-19.5, -30.0), "cant_tell"),  # both below -10 - 0.9 * 10
        (-10.0, (-18.5, -30.0), "a"),
    ],
)
def test_a_teacher_skips_what_is_too_bad(mean: float, returns: tuple[float, float], expected: str) -> None:
    first, second = (np.array([[value, 0.0]]) for value in returns)
    assert answers(SegmentTeacher(eps_skip=0.1), first, second, mean=mean) == [expected]


@pytest.mark.parametrize(("difference", "expected"), [(0.9, "tie"), (1.1, "a")])
@pytest.mark.parametrize("mean", [10.0, -10.0])
def test_nearly_equal_returns_are_a_tie(mean: float, difference: float, expected: str) -> None:
    first, second = np.array([[5 + difference, 0.0]]), np.array([[5.0, 0.0]])
    assert answers(SegmentTeacher(eps_equal=0.1), first, second, mean=mean) == [expected]


def test_levels_are_equal_parts_of_the_range_of_returns() -> None:
    rewards = np.array([[0.0], [1.9], [2.1], [5.0], [9.9], [10.0], [12.0]])
    found = SegmentTeacher().rate(rewards, (0.0, 10.0), 5, np.random.default_rng(0))
    assert found == ["1", "1", "2", "3", "5", "5", "5"]
    assert SegmentTeacher().rate(rewards[:1], (3.0, 3.0), 5, np.random.default_rng(0)) == ["3"]


def test_a_mistaken_rating_is_another_level() -> None:
    found = SegmentTeacher(eps_mistake=1.0).rate(np.full((2000, 1), 5.0), (0.0, 10.0), 5, np.random.default_rng(0))
    assert set(found) == {"1", "2", "4", "5"}


def test_named_teachers_and_their_changed_parameters() -> None:
    assert teacher_of(SegmentTeacherConfig(name="mistake")) == SegmentTeacher(eps_mistake=0.1)
    assert teacher_of(SegmentTeacherConfig(name="mistake", gamma=0.9)) == SegmentTeacher(gamma=0.9, eps_mistake=0.1)
