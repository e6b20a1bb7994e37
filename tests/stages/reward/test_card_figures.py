"""Accuracy with its interval, ceiling, calibration and verdict, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.judgment_sets import COMPARISON, LABEL, judgment_set

from pipeline.kinds.probabilities import TIE, A, B
from pipeline.learning.statistics import wilson_interval
from pipeline.ui.card_plots import draw_card_plots
from stages.reward.card_verdict import CHANCE, MORE, READY, estimate_gain, estimate_more_judgments, verdict
from stages.reward.evaluate import Predictions, accuracy_interval, calibration, ceiling, chance
from stages.reward.judgment_set import JudgmentSet


def test_accuracy_interval_of_one_judgment_an_image_is_wilsons() -> None:
    correct = np.array([True] * 70 + [False] * 30)
    p, low, high = accuracy_interval(correct, np.arange(100))
    assert p == 0.7
    assert (low, high) == pytest.approx(wilson_interval(70, 100), abs=1e-3)


def test_ten_judgments_that_rise_and_fall_together_count_as_one() -> None:
    """Each image's ten judgments are all right or all wrong: the interval is that of ten images, not of a hundred."""
    correct, image = np.repeat(np.array([True] * 7 + [False] * 3), 10), np.repeat(np.arange(10), 10)
    _, low, high = accuracy_interval(correct, image)
    assert (low, high) == pytest.approx(wilson_interval(7, 10), abs=0.01)


def test_all_right_has_an_interval_too() -> None:
    p, low, high = accuracy_interval(np.ones(20, bool), np.arange(20))
    assert (p, high) == (1.0, 1.0)
    assert low == pytest.approx(wilson_interval(20, 20)[0], abs=1e-6)


def judged(*rows: tuple[int, int, int, int, int, int]) -> JudgmentSet:
    kind, rows_a, class_a, rows_b, class_b, answer = torch.tensor(rows).T
    return judgment_set(kind, (rows_a, rows_b), (class_a, class_b), answer)


def test_ceiling_by_hand() -> None:
    """An image called 0, 0, 1 and one called 2, 2: (2 + 2) of 5; leaving one out 0, 0 miss or tie."""
    labels = (
        [(LABEL, 7, 0, 7, 0, answer) for answer in (0, 0, 1)] + [(LABEL, 8, 0, 8, 0, 2)] * 2 + [(LABEL, 9, 0, 9, 0, 1)]
    )
    found = ceiling(judged(*labels))
    assert found is not None
    assert (found["judgments"], found["items"]) == (5, 2)
    assert found["plug_in"] == pytest.approx(4 / 5)
    # Against the others' majority: 0 meets {0, 1}, half right; the same again; 1 meets {0, 0}, wrong; 2 and 2 are right.
    assert found["leave_one_out"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)


def test_ceiling_of_comparisons_whichever_side_comes_first() -> None:
    pairs = [
        (COMPARISON, 3, 0, 3, 1, A),
        (COMPARISON, 3, 1, 3, 0, B),
        (COMPARISON, 3, 0, 3, 1, TIE),
        (COMPARISON, 4, 0, 4, 1, A),
    ]
    found = ceiling(judged(*pairs))
    assert found is not None
    assert (found["plug_in"], found["judgments"]) == (pytest.approx(2 / 3), 3)
    assert ceiling(judged(pairs[0], pairs[3])) is None


def test_ceiling_against_a_loop() -> None:
    """Random items of two to six judgments among four answers, every judgment left out once."""
    random = np.random.default_rng(0)
    rows = [(LABEL, n, 0, n, 0, int(random.integers(0, 4))) for n in range(200) for _ in range(random.integers(2, 7))]
    right, top = 0.0, 0
    for n in range(200):
        answers = [row[5] for row in rows if row[1] == n]
        top += max(answers.count(a) for a in answers)
        for place, answer in enumerate(answers):
            others = answers[:place] + answers[place + 1 :]
            commonest = [a for a in set(others) if others.count(a) == max(others.count(b) for b in others)]
            right += (answer in commonest) / len(commonest)
    found = ceiling(judged(*rows))
    assert found is not None
    assert found["leave_one_out"] == pytest.approx(right / len(rows))
    assert found["plug_in"] == pytest.approx(top / len(rows))


def test_chance_by_hand() -> None:
    pairs = [(COMPARISON, n, 0, n, 1, A) for n in range(3)] + [(COMPARISON, 9, 0, 9, 1, B)]
    assert chance(judged(*pairs)) == 0.5, "sides are a coin, however they fell"
    labels = [(LABEL, n, 0, n, 0, answer) for n, answer in enumerate((2, 2, 2, 0))]
    assert chance(judged(*labels)) == 0.75
    assert chance(judged(*pairs, *labels)) == pytest.approx((2 + 3) / 8)


def test_calibration_by_hand() -> None:
    """Two bins: 0.9 sure and right in 1 of 2; 0.6 sure and right in 2 of 2."""
    sure, right = np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 0, 1, 1])
    same = np.zeros(4, int)
    found = calibration(Predictions(same, same, same, same, 1 - right, sure, sure))
    assert found["ece"] == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert [b["judgments"] for b in found["bins"]] == [2, 2]  # type: ignore[attr-defined, index]


def heldout(accuracy: float, half: float, chance: float = 0.5) -> dict[str, Any]:
    return {"accuracy": accuracy, "low": accuracy - half, "high": accuracy + half, "chance": chance, "judgments": 500}


@pytest.mark.parametrize(
    ("measured", "gain", "expected"),
    [
        (heldout(0.80, 0.03), 0.001, READY),
        (heldout(0.80, 0.03), None, READY),
        (heldout(0.80, 0.03), 0.02, MORE),
        (heldout(0.80, 0.15), 0.0, MORE),
        (heldout(0.52, 0.04), 0.0, CHANCE),
        (heldout(0.40, 0.04), 0.0, CHANCE),
        (heldout(0.60, 0.20), 0.0, MORE),
    ],
)
def test_verdict(measured: dict[str, Any], gain: float | None, expected: str) -> None:
    assert verdict(measured, gain)["short"] == expected


def test_gain_of_the_next_hundred() -> None:
    """accuracy = 0.9 - 2 / sqrt(n) at 100, 400, 900: from 900 to 1,000 it gains 2 / 30 - 2 / sqrt(1000)."""
    curve = [{"judgments": float(n), "accuracy": 0.9 - 2 / n**0.5} for n in (100, 400, 900)]
    assert estimate_gain(curve) == pytest.approx(2 / 30 - 2 / 1000**0.5)
    assert estimate_gain(curve[:1]) is None
    assert estimate_gain([{"judgments": 10, "accuracy": 0.8}, {"judgments": 20, "accuracy": 0.7}]) == 0


def test_more_judgments_by_hand() -> None:
    """A half-width shrinks like 1 / sqrt(n): 15 points to 10 need 2.25 times as many, 1.25 times 400 more."""
    assert estimate_more_judgments(heldout(0.80, 0.15), [], 400) == 500
    assert "about 500 more judgments" in verdict(heldout(0.80, 0.15), 0.0, 500)["why"]
    # 52 % [48 %, 56 %] beside 50 %: chance lies outside with half the half-width, so with four times as many.
    assert estimate_more_judgments(heldout(0.52, 0.04), [], 1000) == 3000
    assert estimate_more_judgments(heldout(0.40, 0.04), [], 1000) is None, (
        "worse than chance: more of the same would not help"
    )
    assert estimate_more_judgments(heldout(0.80, 0.03), [], 1000) is None, "ready"


def test_more_judgments_until_the_gain_is_small() -> None:
    """accuracy = 0.9 - 2 / sqrt(n): after that many more (of which all train here), 100 gain less than half a point."""
    curve = [{"judgments": float(n), "accuracy": 0.9 - 2 / n**0.5} for n in (100, 200, 400)]
    more = estimate_more_judgments(heldout(0.80, 0.03), curve, 400)
    assert more is not None
    n = 400 + more
    assert 2 * (n**-0.5 - (n + 100) ** -0.5) < 0.005 < 2 * ((n - 20) ** -0.5 - (n + 80) ** -0.5)


def small_card(before: float, after: float, fitted_on: int, items: int) -> dict[str, Any]:
    """What `draw_card_plots` looks at, of a card."""
    reliable = {"ece": 0.1, "bins": [{"confidence": 0.8, "accuracy": 0.7, "judgments": 9}]}
    return {
        "verdict": {"short": MORE},
        "curve": {"points": []},
        "scores": [],
        "heldout": {"judgments": 2 * fitted_on, "log_loss": before, "log_loss_calibrated": after, "chance": 0.5},
        "calibration": {"before": reliable, "after": reliable, "temperature": 0.7, "fitted_on": fitted_on},
        "ceiling": {"plug_in": 1.0, "leave_one_out": 1.0, "judgments": 2 * items, "items": items},
    }


@pytest.mark.draws
@pytest.mark.parametrize(
    ("before", "after", "fitted_on", "says"),
    [
        (
            0.185,
            0.955,
            15,
            "did not help: a temperature fitted on 15 judgments, one half of the held-out ones, which are too few",
        ),
        (0.185, 0.955, 500, "from 0.185 to 0.955"),
        (0.300, 0.200, 15, "is not reliable (at least 50 are needed)"),
        (0.300, 0.200, 500, None),
    ],
)
def test_calibration_that_is_no_improvement_is_not_shown_as_one(
    before: float, after: float, fitted_on: int, says: str | None
) -> None:
    shown = draw_card_plots(small_card(before, after, fitted_on, 10))
    assert (shown["doubts"] is None) == (says is None)
    assert says is None or says in shown["doubts"]
    assert ("after (ECE" in shown["reliability"]) == (says is None)
    assert ("uncalibrated (ECE" in shown["reliability"]) == (says is not None)


def test_a_ceiling_of_few_repeats_is_left_out() -> None:
    assert [draw_card_plots(small_card(0.3, 0.2, 99, items))["ceiling"]["enough"] for items in (9, 10)] == [False, True]
    card = small_card(0.3, 0.2, 99, 4)
    del card["ceiling"]["items"]  # a card of an older run
    assert draw_card_plots(card)["ceiling"]["items"] == 4
    assert not draw_card_plots(card | {"ceiling": None})["ceiling"]["enough"]
