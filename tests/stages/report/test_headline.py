"""The report's headline: one sentence chosen by the figures."""

from __future__ import annotations

import pytest

from stages.report.headline import BETTER, BY_CHANCE, HARMED, HELPED, LEVEL, NO_GOLD, UNFINISHED, WORSE, headline


@pytest.mark.parametrize(("low", "high", "expected"), [(0.6, 0.9, BETTER), (0.4, 0.7, BY_CHANCE), (0.1, 0.4, WORSE)])
def test_headline_against_chance(low: float, high: float, expected: str) -> None:
    side = {"accuracy": (low + high) / 2, "low": low, "high": high}
    end = {"attained": 0.9, "attained_heldout": None, "kl": 0.5, "kl_star": 0.6, "stopped": None}
    made = {
        "evaluation": "test",
        "ppo": {"result": end},
        "card": None,
        "lineage": {"missing": [], "stages": []},
        "predictions": {
            "images": 9,
            "known": 9,
            "uniform_reference": True,
            "chance": 0.5,
            "commonest": 0.6,
            "before": None,
            "after": side,
            "paired": None,
            "changed": None,
            "first_predictions": {},
        },
    }
    found = headline(made)
    assert found["short"] == expected
    assert "chance is 50.0" in found["sentences"][0]
    assert "wrong to right" not in " ".join(found["sentences"])


@pytest.mark.parametrize(
    ("paired", "policy", "expected"),
    [
        ({"p": 0.01, "difference": 0.1}, True, HELPED),
        ({"p": 0.01, "difference": -0.1}, True, HARMED),
        ({"p": 0.2, "difference": 0.1}, True, LEVEL),
        (None, True, NO_GOLD),
        (None, False, UNFINISHED),
    ],
)
def test_headline(paired: dict[str, float] | None, policy: bool, expected: str) -> None:
    side = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    known = 100 if paired else 0
    end = {"attained": 0.9, "attained_heldout": None, "kl": 0.5, "kl_star": 0.6, "stopped": None}
    made = {
        "evaluation": "test",
        "ppo": {"result": end} if policy else None,
        "card": None,
        "predictions": {
            "images": 100,
            "known": known,
            "uniform_reference": False,
            "before": side if paired else None,
            "after": side if paired and policy else None,
            "changed": {"all": 3} if policy else None,
            "paired": {"gained": 1, "lost": 2, "low": -0.1, "high": 0.1, **paired} if paired else None,
        },
        "lineage": {"missing": [] if policy else [{"stage": "ppo", "target": "ppo"}], "stages": []},
    }
    assert headline(made)["short"] == expected
