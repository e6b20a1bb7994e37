"""What people are told: how far it is, what another minute brings, and when to stop."""

from __future__ import annotations

from typing import Any

from stages.rounds.advice import advice, points, spent

ROUND = {"round": 2, "answers": 74, "seconds": 203.9, "simulated": 0}
ESTIMATE = {"accuracy": 0.84, "low": 0.74, "high": 0.92, "answers": 61, "verdict": "enough"}


def told(gain: float | None = 0.01, fraction: float = 0.1, **estimate: Any) -> dict[str, Any]:
    forecast = None if gain is None else {"minute": {"gain": gain, "low": 0.0, "high": 3 * gain}}
    achieved = {
        "rounds": [ROUND] * 3,
        "reference": {"accuracy": 0.3},
        "estimate": ESTIMATE | estimate,
        "forecast": forecast,
        "audit_fraction": fraction,
    }
    return advice(achieved, 0.001)


def test_the_accuracy_is_said_with_its_interval() -> None:
    first, second, _ = told()["sentences"]
    assert first == "Trained 3 times, the last time with 74 answers, about 3 min of people's time."
    assert second == (
        "Estimated accuracy 84 %, with 95 % probability between 74 % and 92 %, from 61 audit answers; before the first "
        "answer it was 30 %."
    )


def test_when_to_stop() -> None:
    assert told(0.012)["advice"] == "go on"
    assert (
        told(0.012)["sentences"][-1]
        == "Go on: another minute is expected to bring 1.2 points (95 % interval 0.0 to 3.6)."
    )
    assert told(0.0004)["advice"] == "stop"
    assert told(0.0004)["sentences"][-1].startswith(
        "You can stop: another minute is expected to bring less than 0.1 points"
    )
    unsure = told(0.0004, verdict="more needed")
    assert unsure["advice"] == "go on"
    assert "not precise yet" in unsure["sentences"][-1]
    assert told(None)["advice"] == "not known yet"


def test_without_audit_questions_it_says_what_can_be_said_and_why_the_rest_cannot() -> None:
    result = advice({"rounds": [ROUND], "estimate": None, "audit_fraction": 0.0}, 0.001)
    assert result["advice"] == "not known yet"
    text = " ".join(result["sentences"])
    assert "Trained once, the last time with 74 answers" in text
    assert "cannot be estimated" in text
    assert "collect.audit_fraction is 0" in text
    assert "nobody can say what another minute would bring" in text
    soon = advice({"rounds": [ROUND], "estimate": None, "audit_fraction": 0.1}, 0.001)["sentences"]
    assert "No audit question was answered yet" in soon[-1]
    assert "Nothing was trained yet" in advice({"rounds": [], "estimate": None}, 0.001)["sentences"][0]


def test_simulated_seconds_are_called_simulated() -> None:
    assert spent(ROUND | {"simulated": 203.9}) == "about 3 min of simulated time"
    assert spent(ROUND | {"simulated": 60.0}) == "about 2 min of people's time and about 1 min of simulated time"
    assert points(0.0004) == "less than 0.1 points"
