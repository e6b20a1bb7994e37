"""Plots in one style: a palette that colour-blind people can tell apart (Okabe and Ito 2008), text that stays text."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#a02020",
    "#7a7a7a",
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "image-rlhf",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e3de",
    "axes.edgecolor": "#5c6663",
    "lines.linewidth": 2,
}


def figure(width: float = 5.2, height: float = 3.4) -> tuple[Figure, Any]:
    """A figure, in inches, and its axes; made without pyplot, which keeps every figure it ever made."""
    made, (axes,) = panels(1, width, height)
    return made, axes


def panels(count: int, width: float = 5.2, height: float = 3.4) -> tuple[Figure, list[Any]]:
    """A figure, in inches, and the axes of `count` panels side by side."""
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        return made, list(made.subplots(1, count, squeeze=False)[0])


def svg(made: Figure, label: str = "") -> str:
    """The figure as an <svg> element that can stand in a page; the same figure gives the same text.

    Args:
        label: what it shows, for those who cannot see it.
    """
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        made.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # nothing refers to these, and every figure of a page has the same
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1) if label else text


def reliability(measured: Mapping[str, Any], xlabel: str, ylabel: str, names: Mapping[str, str] | None = None) -> str:
    """An <svg>: accuracy against confidence before and after; the diagonal is perfect calibration.

    Args:
        measured: `before` and `after`, or one of them, as `pipeline.learning.statistics.reliability` returns them.
        names: what the legend calls them, if not so.
    """
    fig, axis = figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")
    for key, colour, marker, style in (("before", ORANGE, "s", "--"), ("after", BLUE, "o", "-")):
        if made := measured.get(key):
            x, y = ([b[column] for b in made["bins"]] for column in ("confidence", "accuracy"))
            label = f"{(names or {}).get(key, key)} (ECE {100 * made['ece']:.1f} %)"
            axis.plot(x, y, color=colour, marker=marker, linestyle=style, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02), ylim=(0, 1.02))
    legend_above(axis)
    return svg(fig, f"reliability diagram: {ylabel} against {xlabel}, beside the diagonal of perfect calibration")


def legend_above(axes: Any) -> None:
    """A legend above the plot, where it can cover nothing that is drawn."""
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, columnspacing=1.2)
