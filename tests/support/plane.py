"""Eight images in a plane for tests of query strategies: what is known of them, and which ones a strategy chooses."""

from __future__ import annotations

import math

import numpy as np
import torch

from pipeline.kinds import kinds
from pipeline.learning.laplace import log_mean_probability
from pipeline.strategies import Candidates, strategies

# Three clusters: four images around (0, 0), three around (10, 0), one at (0, 10).
PLANE = np.array([[0, 0], [0.2, 0], [0, 0.2], [0.3, 0.3], [10, 0], [10.1, 0], [9.9, 0], [0, 10]], dtype=np.float32)
UNIFORM = torch.full((8, 2), -math.log(2))


def candidates(judged: tuple[int, ...] = (), samples: torch.Tensor | None = None) -> Candidates:
    return Candidates(
        torch.arange(8),
        UNIFORM,
        torch.Generator().manual_seed(0),
        judged=torch.tensor(judged, dtype=torch.long),
        predicted=None if samples is None else log_mean_probability(samples),
        draw_samples=None if samples is None else lambda: samples,
        represent=lambda: PLANE,
    )


def chosen(name: str, count: int, given: Candidates, kind: str = "label") -> list[int]:
    return strategies.get(name).choose(kinds.get(kind), count, given).rows[:, 0].tolist()  # type: ignore[no-any-return]


def sampled() -> torch.Tensor:
    """Two draws: image 2 is undecided in both, on image 5 they contradict each other, all others are clear."""
    sure = torch.tensor([0.99, 0.01]).log().expand(8, 2).clone()
    one, other = sure.clone(), sure.clone()
    one[2] = other[2] = torch.tensor([0.5, 0.5]).log()
    other[5] = sure[5].flip(0)
    return torch.stack([one, other])
