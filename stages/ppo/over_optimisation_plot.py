"""Proxy and gold reward against the distance from the reference: what over-optimisation is seen by."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.tracking.metrics_log import Row
from pipeline.ui.plots import panels, svg
from pipeline.ui.reward_kl_plot import draw_gold, draw_proxy


def over_optimisation(rows: Sequence[Row]) -> str:
    """An <svg>: on held-out images, reward (with the ensemble's spread, if any) and gold against sqrt(KL) (Gao et al. 2022)."""
    gold = any("gold_heldout" in row for row in rows)
    plot, axes = panels(2 if gold else 1, 8.4 if gold else 4.4, 3.2)
    draw_proxy(axes[0], rows)
    if any("spread_heldout" in row for row in rows):
        axes[0].legend(frameon=False)
    if gold:
        draw_gold(axes[1], rows)
    return svg(plot, "reward of the reward model, and gold where it is known, against the distance from the reference")
