"""The forecast of another minute: large while the curve rises, small where it is flat, and never negative."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.learning_curve import forecast_gain


def answers(accuracies: list[float], images: int = 400, seed: int = 1) -> np.ndarray:
    """[n, K]: each image is classified rightly from some accuracy on, so that rounds are as related as real ones."""
    return (np.random.default_rng(seed).random((images, 1)) < np.array(accuracies)).astype(float)


def test_a_rising_curve_promises_more_than_a_flat_one() -> None:
    seconds = [0.0, 60.0, 120.0, 180.0, 240.0]
    rising = forecast_gain(seconds, answers([0.2, 0.3, 0.4, 0.5, 0.6]), 60, classes=10)
    flat = forecast_gain(seconds, answers([0.2, 0.85, 0.86, 0.86, 0.86]), 60, classes=10)
    assert rising is not None
    assert flat is not None
    assert rising.low > flat.high
    assert 0.04 < rising.gain < 0.13, "a tenth a minute so far"
    assert flat.gain < 0.01


def test_a_falling_curve_promises_nothing_below_zero() -> None:
    gain = forecast_gain([0.0, 60.0, 120.0], answers([0.6, 0.5, 0.4]), 60, classes=10)
    assert gain is not None
    assert 0 <= gain.low <= gain.gain <= gain.high < 0.05


def test_mistakes_of_people_hide_a_part_of_the_gain() -> None:
    seconds, table = [0.0, 60.0, 120.0, 180.0], answers([0.2, 0.4, 0.5, 0.55])
    plain = forecast_gain(seconds, table, 60, classes=10)
    corrected = forecast_gain(seconds, table, 60, classes=10, error=0.2)
    assert plain is not None
    assert corrected is not None
    assert corrected.gain == pytest.approx(plain.gain / (1 - 0.2 - 0.2 / 9), rel=0.25)


def test_the_gain_is_at_most_what_is_missing() -> None:
    gain = forecast_gain([0.0, 10.0, 20.0], answers([0.5, 0.75, 0.99]), 3600, classes=2)
    assert gain is not None
    assert gain.high <= 0.05


def test_too_little_is_known() -> None:
    assert forecast_gain([0.0, 60.0], answers([0.2, 0.5]), 60, classes=10) is None
    assert forecast_gain([0.0, 1.0, 2.0], answers([0.2, 0.5, 0.6], images=9), 60, classes=10) is None
    assert forecast_gain([0.0, 0.0, 0.0], answers([0.2, 0.5, 0.6]), 60, classes=10) is None


def test_the_same_answers_give_the_same_forecast() -> None:
    made = [forecast_gain([0.0, 60.0, 120.0], answers([0.2, 0.5, 0.6]), 60, classes=10, seed=3) for _ in range(2)]
    assert made[0] == made[1]
