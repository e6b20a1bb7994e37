"""Small networks over numbered states."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support import threads
from torch import Tensor, nn
from torch.nn.functional import one_hot


class OneHot(nn.Module):
    """Numbers [...] of states to vectors [..., S]."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.states = states

    def forward(self, state: Tensor) -> Tensor:
        return one_hot(state, self.states).float()


def network_of(states: int, outputs: int, hidden: int = 32) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            OneHot(states), nn.Linear(states, hidden), nn.Tanh(), nn.Linear(hidden, outputs, bias=False)
        )


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    """A network of one hidden layer: numbers of states [...] to outputs [..., A]."""
    return network_of


one_thread = pytest.fixture(autouse=True)(threads.one_thread)
