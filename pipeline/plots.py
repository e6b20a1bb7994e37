"""Plots in one style: a palette that colour-blind people can tell apart (Okabe and Ito 2008), text that stays text."""

from __future__ import annotations

import io
import re
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
    "svg.fonttype": "none", "svg.hashsalt": "image-rlhf", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e3de",
    "axes.edgecolor": "#5c6663", "lines.linewidth": 2,
}  # fmt: skip


def figure(width: float = 5.2, height: float = 3.4) -> tuple[Figure, Any]:
    """A figure, in inches, and its axes; made without pyplot, which keeps every figure it ever made."""
    made, (axes,) = panels(1, width, height)
    return made, axes


def panels(count: int, width: float = 5.2, height: float = 3.4) -> tuple[Figure, list[Any]]:
    """A figure, in inches, and the axes of `count` panels side by side."""
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        return made, list(made.subplots(1, count, squeeze=False)[0])


def svg(made: Figure) -> str:
    """The figure as an <svg> element that can stand in a page; the same figure gives the same text."""
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        made.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
