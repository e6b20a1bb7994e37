"""Whether judgments spread to neighbours: with `auto` only if held-out judgments say so clearly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stages.reward import head_teaching
from stages.reward.head_teaching import HeadTeaching, choose_teaching, surely_positive


def test_one_standard_error() -> None:
    """Of 1, 1, 1, 0 the mean is 0.75 and its standard error 0.25; of 1, 1, 1, -1 both are 0.5."""
    assert surely_positive(torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert not surely_positive(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    assert not surely_positive(torch.tensor([1.0]))


class Neighbours:
    def choose(self, folds: Any) -> str:
        return "near"


@pytest.mark.parametrize(
    ("wanted", "gains", "weight"),
    [
        ("auto", [1.0, 1.0, 1.0, 0.0], 0.3),
        ("auto", [1.0, 1.0, 1.0, -1.0], 0.0),
        ("propagate", [1.0, 1.0, 1.0, -1.0], 0.3),
        ("propagate", [-1.0, -1.0, 1.0, 0.0], 0.0),
    ],
)
def test_spreading_is_used_if_it_surely_helps(
    monkeypatch: pytest.MonkeyPatch, wanted: str, gains: list[float], weight: float
) -> None:
    """A weight of 0.3 changes the losses of four held-out judgments by these gains; the other weights make them worse."""
    losses = {0.0: torch.full((4,), 2.0), 0.3: 2 - torch.tensor(gains)}
    monkeypatch.setattr(head_teaching, "cross_validate", lambda folds, fit, problem: fit(None, 0))
    monkeypatch.setattr(HeadTeaching, "heads", lambda self, *_: self.weight)
    monkeypatch.setattr(head_teaching, "heldout_loss", lambda used, _: losses.get(used, torch.full((4,), 9.0)))
    teaching: Any = HeadTeaching(torch.arange(4), propagation=Neighbours())  # type: ignore[arg-type]
    problem: Any = type("Problem", (), {"config": None})()
    chosen = choose_teaching(teaching, problem, [], 1.0, wanted=wanted)
    assert chosen.weight == weight
    assert chosen.name == ("propagate" if weight else "none")
