"""The report's plots of rounds: what the answers of people bought, against the seconds they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.run.rounds_file import seconds_column
from pipeline.ui.plots import BLUE, GREEN, GREY, ORANGE, SKY, figure, svg

MINUTES_FROM = 600  # seconds from which the axis has minutes
MAX_TICKS = 8  # numbers of answers above a plot
SPACE = 0.05  # of the axis, before the first and after the last round
QUIET = "#5c6663"

Rows = Sequence[Mapping[str, Any]]
Lines = Sequence[tuple[str, str, dict[str, Any]]]  # column, name and look; a line without values is left out
ACCURACIES: Lines = (
    ("reward_accuracy", "reward model alone", {"color": ORANGE, "ls": "--", "marker": "s", "mfc": "white"}),
    ("accuracy", "aligned policy", {"color": BLUE, "ls": "-", "marker": "o"}),
)
AGREEMENT: Lines = (("heldout_accuracy", "held-out answers predicted", {"color": GREEN, "ls": "-", "marker": "^"}),)
OBJECTIVES: Lines = (
    ("J_star", "J*, the optimum", {"color": GREY, "ls": ":", "marker": "D", "mfc": "white", "ms": 9}),
    ("J", "J", {"color": BLUE, "ls": "-", "marker": "o"}),
)


def round_plots(rows: Rows) -> list[tuple[str, Markup]]:
    """Headings and plots. Without gold labels the share of held-out answers that are predicted takes the accuracy's place."""
    known = any(row.get("accuracy") is not None for row in rows)
    plots = []
    for title, lines, ylabel in (
        ("Accuracy, by people's time", ACCURACIES, "accuracy")
        if known
        else ("Agreement, by people's time", AGREEMENT, "share"),
        ("Objective J, by people's time", OBJECTIVES, "J"),
    ):
        found = [(name, look, [row.get(column) for row in rows]) for column, name, look in lines]
        found = [(name, look, y) for name, look, y in found if any(value is not None for value in y)]
        if found:
            plots.append((title, _by_time(rows, found, ylabel)))
    return [*plots, ("New answers in each round", _new_answers(rows))]


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


def _by_time(rows: Rows, lines: Sequence[tuple[str, dict[str, Any], list[float | None]]], ylabel: str) -> Markup:
    """Lines with a point per round, and above them the numbers of answers so far."""
    x, unit = seconds_axis(rows)
    plot, axes = figure()
    for name, look, values in lines:
        points = [(at, value) for at, value in zip(x, values, strict=True) if value is not None]
        axes.plot(*zip(*points, strict=True), label=name, **{"ms": 6, **look})
    axes.set(xlabel=unit, ylabel=ylabel, xlim=(0, max(x) * (1 + SPACE)))
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize=9)
    if unit != "answers":
        above = axes.secondary_xaxis("top")
        every = -(-len(rows) // MAX_TICKS)
        shown = range(len(rows) - 1, -1, -every)  # the last round always
        above.set_xticks([x[n] for n in shown], [f"{rows[n]['answers']:.0f}" for n in shown], fontsize=9, color=QUIET)
        above.set_xlabel("answers so far", fontsize=9, color=QUIET)
        above.spines["top"].set_visible(False)
        above.tick_params(length=3, color=QUIET)
    return Markup(svg(plot, f"{ylabel} against {unit}, a point per round; the table has the numbers"))


def _new_answers(rows: Rows) -> Markup:
    """A bar of new answers for each round."""
    totals = [row["answers"] for row in rows]
    new = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    plot, axes = figure(height=2.6)
    bars = axes.bar([row["round"] + 1 for row in rows], new, color=SKY, width=0.55, zorder=2)
    if len(rows) <= 2 * MAX_TICKS:
        axes.bar_label(bars, fmt="%.0f", fontsize=9, color=QUIET, padding=2)
    axes.set(xlabel="round", ylabel="answers")
    axes.xaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10])
    axes.grid(False, axis="x")
    axes.margins(y=0.15)
    return Markup(svg(plot, "new answers in each round; the table has the numbers"))
