"""Proxy and gold reward against the distance from the reference: what over-optimisation is seen by."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.plots import BLUE, GREEN, ORANGE, panels, svg
from pipeline.tracking import Row


def over_optimisation(rows: Sequence[Row]) -> str:
    """An <svg>: on held-out images, reward (with the ensemble's spread, if any) and gold against sqrt(KL) (Gao et al. 2022)."""
    rows = [row for row in rows if "kl_heldout" in row]  # a row of a policy that was no number lacks it
    gold = [row for row in rows if "gold_heldout" in row]
    made, axes = panels(2 if gold else 1, 8.4 if gold else 4.4, 3.2)
    distance = [math.sqrt(max(0.0, row["kl_heldout"])) for row in rows]
    proxy = [row["reward_heldout"] for row in rows]
    axes[0].plot(distance, proxy, color=BLUE, marker=".", label="reward model")
    if any("spread_heldout" in row for row in rows):
        low, high = (
            [row["reward_heldout"] + sign * row["spread_heldout"] for row in rows] for sign in (-1, 1)
        )  # fmt: skip
        axes[0].fill_between(distance, low, high, color=BLUE, alpha=0.15, lw=0, label="its members' spread")
        axes[0].legend(frameon=False)
    axes[0].set_ylabel("mean reward")
    if gold:
        apart = [math.sqrt(max(0.0, row["kl_heldout"])) for row in gold]
        axes[1].plot(
            apart,
            [row["gold_heldout"] for row in gold],
            color=ORANGE,
            marker=".",
            label="probability of the true class",
        )
        axes[1].plot(
            apart, [row["accuracy_heldout"] for row in gold], color=GREEN, marker=".", ls="--", label="accuracy"
        )
        axes[1].set_ylabel("gold")
        axes[1].legend(frameon=False)
    for panel in axes:
        panel.set_xlabel("distance from the reference, square root of KL")
    return svg(made)
