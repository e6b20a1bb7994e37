"""`make report` of a control task: one self-contained page about the run and its other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.config import dump_config
from pipeline.control.config import ControlConfig
from pipeline.run import next_command
from pipeline.run.atomic_files import write_atomically, write_json
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.ui import card_plots
from pipeline.ui.html import render
from pipeline.ui.plots import BLUE, GREEN, GREY, ORANGE, figure, legend_above, svg
from stages.control.report_data import Rows, amount, figures

TEMPLATES = Path(__file__).with_name("templates")
LEARNED: dict[str, Any] = {"color": BLUE, "ls": "-", "marker": "o", "ms": 5}
TRUE: dict[str, Any] = {"color": ORANGE, "ls": "--", "marker": "s", "ms": 5, "mfc": "white"}


@one_process("report")
def write_report(config: ControlConfig) -> Path:
    """Write runs/<name>/report/report.html and report.json; returns the page's path.

    Raises:
        UserError: no round is finished.
    """
    report = figures(config)
    folder = config.runs / config.name / "report"
    write_json(folder / "report.json", report)
    write_atomically(folder / "report.html", page(config, report).encode())
    return folder / "report.html"


def page(config: ControlConfig, report: dict[str, Any]) -> str:
    """The HTML of report.html."""
    card, count = read_card(config), len(report["seeds"])
    several = f" SEEDS={count}" if count > 1 else ""
    return render(
        TEMPLATES,
        "control_report.html.jinja",
        report=report,
        amount=amount,
        plots=plots(report),
        card=card,
        card_drawn=card_plots.draw_card_plots(card) if card else None,
        commands=[next_command.make("rounds") + several, next_command.make("report")],
        config=dump_config(config),
    )


def read_card(config: ControlConfig) -> dict[str, Any] | None:
    """The reward model's card; None if there is none yet.

    Raises:
        UserError: it is damaged.
    """
    if not (config.runs / config.name / "reward" / "card.json").is_file():
        return None
    return RunFolder(config).read("reward", "card.json", "verdict", "heldout")


def plots(report: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Headings and plots."""
    found = [
        ("True return, by answers", returns_plot(report, "answers")),
        ("True return, by environment steps", returns_plot(report, "steps")),
    ]
    if any(row["agreement"]["mean"] is not None for row in report["rounds"]):
        found.append(("Held-out answers predicted, by answers", agreement_plot(report)))
    return found


def returns_plot(report: dict[str, Any], by: str) -> Markup:
    """True return of both agents after each round; a thin line per seed, a band for the 95 % interval of the mean."""
    plot, axes = figure()
    rows: Rows = report["rounds"]
    x = [row[by] for row in rows]
    for key, name, look in (("learned", "from preferences", LEARNED), ("true", "from the true reward", TRUE)):
        points = [(at, row[key]) for at, row in zip(x, rows, strict=True) if row[key] is not None]
        if points:
            draw(axes, points, name, look)
    for one in report["seeds"] if len(report["seeds"]) > 1 else []:
        axes.plot(x, [row["true_return"] for row in one["rounds"][: len(x)]], color=BLUE, lw=0.8, alpha=0.35)
    if report["random"] is not None:
        axes.axhline(report["random"], color=GREY, ls=":", label="random actions")
    axes.set(
        xlabel="answers" if by == "answers" else "environment steps", ylabel="true return", xlim=(0, 1.05 * max(x))
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    legend_above(axes)
    return Markup(svg(plot, f"true return against {by}, after each round; the table has the numbers"))


def draw(axes: Any, points: Sequence[tuple[float, dict[str, Any]]], name: str, look: dict[str, Any]) -> None:
    """A line with a band."""
    x, y = [at for at, _ in points], [value["mean"] for _, value in points]
    axes.plot(x, y, label=name, **look)
    half = [value["half"] or 0.0 for _, value in points]
    if any(half):
        low = [a - b for a, b in zip(y, half, strict=True)]
        high = [a + b for a, b in zip(y, half, strict=True)]
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)


def agreement_plot(report: dict[str, Any]) -> Markup:
    """Share of held-out answers, ties left out, that each round's reward model predicts."""
    plot, axes = figure()
    points = [(row["answers"], row["agreement"]) for row in report["rounds"] if row["agreement"]["mean"] is not None]
    draw(axes, points, "reward model", {"color": GREEN, "ls": "-", "marker": "^", "ms": 6})
    if report["comparisons"]:
        axes.axhline(0.5, color=GREY, ls=":", label="chance")
    axes.set(xlabel="answers", ylabel="share", ylim=(0, 1.05), xlim=(0, 1.05 * max(at for at, _ in points)))
    legend_above(axes)
    return Markup(svg(plot, "share of held-out answers that the reward model predicts; the table has the numbers"))
