"""The report's plots of rounds: what the answers of people bought, against the seconds they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.run.rounds_file import seconds_column
from pipeline.ui.plots import BLUE, GREEN, GREY, ORANGE, figure, legend_above, svg

MINUTES_FROM = 600  # seconds from which the axis has minutes
# Column, name and look of each line; a line without values is left out.
ACCURACIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("accuracy", "aligned policy", {"color": BLUE, "ls": "-", "marker": "o"}),
    ("reward_accuracy", "reward model alone", {"color": ORANGE, "ls": "--", "marker": "s", "mfc": "white"}),
    ("heldout_accuracy", "held-out answers, by the reward model", {"color": GREEN, "ls": ":", "marker": "^"}),
)
OBJECTIVES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("J", "J", {"color": BLUE, "ls": "-", "marker": "o"}),
    ("J_star", "J*, the optimum of the round", {"color": GREY, "ls": ":", "marker": "D"}),
)

Rows = Sequence[Mapping[str, Any]]


def round_plots(rows: Rows) -> list[tuple[str, Markup]]:
    """Headings and plots; none for a single round without seconds."""
    x, unit = seconds_axis(rows)
    plots = []
    for title, lines, ylabel in (
        ("Accuracy against people's time", ACCURACIES, "accuracy"),
        ("Objective J against people's time", OBJECTIVES, "J"),
    ):
        found = [(name, look, [row.get(column) for row in rows]) for column, name, look in lines]
        found = [(name, look, y) for name, look, y in found if any(value is not None for value in y)]
        if found:
            plots.append((title, _against(x, unit, found, ylabel, rows)))
    return [*plots, ("Answers in each round", _answers(rows))]


def seconds_axis(rows: Rows) -> tuple[list[float], str]:
    """Where the rounds are on the axis, and the axis's label; the numbers of answers if no seconds are known."""
    column = seconds_column(rows)
    if column is None:
        return [float(row["answers"]) for row in rows], "answers"
    seconds = [float(row[column]) for row in rows]
    whose = "simulated people" if column.startswith("simulated") else "people"
    if max(seconds) >= MINUTES_FROM:
        return [value / 60 for value in seconds], f"minutes of {whose}"
    return seconds, f"seconds of {whose}"


def _against(
    x: Sequence[float],
    unit: str,
    lines: Sequence[tuple[str, dict[str, Any], list[float | None]]],
    ylabel: str,
    rows: Rows,
) -> Markup:
    """Lines over the seconds spent, from zero seconds; the first line has the number of answers at its points."""
    plot, axes = figure()
    for name, look, values in lines:
        points = [(at, value) for at, value in zip(x, values, strict=True) if value is not None]
        axes.plot(*zip(*points, strict=True), label=name, ms=6, **look)
    _, _, first = lines[0]
    for at, value, row in zip(x, first, rows, strict=True):
        if value is not None and len(rows) <= 12:
            axes.annotate(
                f"{row['answers']:.0f}",
                (at, value),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="#5c6663",
            )
    axes.set(xlabel=unit, ylabel=ylabel)
    axes.set_xlim(left=0, right=max(x) * 1.06)
    axes.margins(y=0.16)
    legend_above(axes)
    return Markup(svg(plot, f"{ylabel} against {unit}, a point per round; the table has the numbers"))


def _answers(rows: Rows) -> Markup:
    """A bar of new answers for each round."""
    totals = [row["answers"] for row in rows]
    new = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    plot, axes = figure()
    bars = axes.bar([row["round"] + 1 for row in rows], new, color=BLUE, width=0.62)
    if len(rows) <= 20:
        axes.bar_label(bars, fmt="%.0f", fontsize=8, color="#5c6663", padding=2)
    axes.set(xlabel="round", ylabel="new answers")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(False, axis="x")
    axes.margins(y=0.12)
    return Markup(svg(plot, "new answers in each round; the table has the numbers"))
