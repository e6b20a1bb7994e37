"""Curves of an alignment against its distance from the reference: what over-optimisation is seen by (Gao et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.tracking.metrics_log import Row
from pipeline.ui.plots import BLUE, GREEN, ORANGE

DISTANCE = "distance from the reference, square root of KL"


def measured(rows: Sequence[Row], column: str) -> tuple[list[float], list[float]]:
    """Distance and a figure of all rows of PPO's metrics that have both; a row of a policy that was no number lacks them."""
    found = [row for row in rows if "kl_heldout" in row and column in row]
    return [math.sqrt(max(0.0, row["kl_heldout"])) for row in found], [row[column] for row in found]


def draw_proxy(axes: Any, rows: Sequence[Row], label: str = "reward model", **look: Any) -> None:
    """What the reward model gives on held-out images, with the ensemble's spread, if there is one."""
    look = {"color": BLUE, "marker": "."} | look
    distance, reward = measured(rows, "reward_heldout")
    axes.plot(distance, reward, label=label, **look)
    apart, spread = measured(rows, "spread_heldout")
    if apart:
        mean = measured([row for row in rows if "spread_heldout" in row], "reward_heldout")[1]
        low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(apart, low, high, color=look["color"], alpha=0.15, lw=0, label="its members' spread")
    axes.set(xlabel=DISTANCE, ylabel="mean reward")


def draw_gold(axes: Any, rows: Sequence[Row]) -> None:
    """What is true of the same images, where classes are known."""
    for column, label, look in (
        ("gold_heldout", "probability of the true class", {"color": ORANGE, "marker": "."}),
        ("accuracy_heldout", "accuracy", {"color": GREEN, "marker": ".", "ls": "--"}),
    ):
        axes.plot(*measured(rows, column), label=label, **look)
    axes.set(xlabel=DISTANCE, ylabel="gold")
    axes.legend(frameon=False)
