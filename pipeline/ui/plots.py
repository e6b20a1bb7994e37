"""Plots in one style: a palette for colour-blind readers (Okabe and Ito 2008), and text as text in SVG."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    """A figure, in inches, and its axes; without pyplot, which keeps all figures in memory."""
    plot, (axes,) = panels(1, width, height)
    return plot, axes


def panels(count: int, width: float = 5.2, height: float = 3.4) -> tuple[Figure, list[Any]]:
    """A figure, in inches, and the axes of `count` panels side by side."""
    import matplotlib as mpl  # slow to import: only where something is drawn
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        plot = Figure(figsize=(width, height), layout="constrained")
        return plot, list(plot.subplots(1, count, squeeze=False)[0])


def svg(plot: Figure, label: str = "") -> str:
    """The figure as an <svg> element for a page; the same figure gives the same text.

    Args:
        label: description for screen readers.
    """
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context(STYLE):
        plot.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # unused, and not unique within a page
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1) if label else text


def reliability(results: Mapping[str, Any], xlabel: str, ylabel: str, names: Mapping[str, str] | None = None) -> str:
    """An <svg>: accuracy against confidence before and after; the diagonal is perfect calibration.

    Args:
        results: `before` and `after`, or one of them, as `pipeline.learning.statistics.reliability` returns them.
        names: labels in the legend, instead of `before` and `after`.
    """
    fig, axis = figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")
    for key, colour, marker, style in (("before", ORANGE, "s", "--"), ("after", BLUE, "o", "-")):
        if result := results.get(key):
            x, y = ([b[column] for b in result["bins"]] for column in ("confidence", "accuracy"))
            label = f"{(names or {}).get(key, key)} (ECE {100 * result['ece']:.1f} %)"
            axis.plot(x, y, color=colour, marker=marker, linestyle=style, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02), ylim=(0, 1.02))
    legend_above(axis)
    return svg(fig, f"reliability diagram: {ylabel} against {xlabel}, with the diagonal of perfect calibration")


def legend_above(axes: Any) -> None:
    """A legend above the plot, where it covers nothing."""
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, columnspacing=1.2)
