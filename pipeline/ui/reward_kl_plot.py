"""Reward and gold against the distance from the reference, which show over-optimisation (Gao et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.tracking.metrics_log import Row
from pipeline.ui.plots import BLUE, GREEN, ORANGE

DISTANCE = "distance from the reference, square root of KL"


def curve(rows: Sequence[Row], column: str) -> tuple[list[float], list[float]]:
    """Distances and values of a column, for the rows of PPO's metrics that have both."""
    found = [row for row in rows if "kl_heldout" in row and column in row]
    return [math.sqrt(max(0.0, row["kl_heldout"])) for row in found], [row[column] for row in found]


def draw_proxy(axes: Any, rows: Sequence[Row], label: str = "reward model", **look: Any) -> None:
    """Plot the mean reward on held-out images, with the ensemble's spread if there is one."""
    look = {"color": BLUE, "marker": "."} | look
    distance, reward = curve(rows, "reward_heldout")
    axes.plot(distance, reward, label=label, **look)
    apart, spread = curve(rows, "spread_heldout")
    if apart:
        mean = curve([row for row in rows if "spread_heldout" in row], "reward_heldout")[1]
        low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(apart, low, high, color=look["color"], alpha=0.15, lw=0, label="spread of its members")
    axes.set(xlabel=DISTANCE, ylabel="mean reward")


def draw_gold(axes: Any, rows: Sequence[Row]) -> None:
    """Plot the gold metrics on the same images, if labels are known."""
    for column, label, look in (
        ("gold_heldout", "probability of the true class", {"color": ORANGE, "marker": "."}),
        ("accuracy_heldout", "accuracy", {"color": GREEN, "marker": ".", "ls": "--"}),
    ):
        axes.plot(*curve(rows, column), label=label, **look)
    axes.set(xlabel=DISTANCE, ylabel="gold")
    axes.legend(frameon=False)
