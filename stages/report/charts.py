"""The report's plots. Every line has its own colour, dash and marker, so that grey prints are readable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from pipeline.tracking.metrics_log import Row
from pipeline.ui.plots import BLUE, COLOURS, GREY, ORANGE, figure, reliability, svg
from pipeline.ui.reward_kl_plot import DISTANCE, curve, draw_gold, draw_proxy

DASHES, MARKS = ("-", "--", "-.", ":"), "osD^vP"
MAX_CLASSES = 20  # classes shown; of more, those whose accuracy changed most


class Line(NamedTuple):
    """A column of metrics as a line."""

    name: str
    rows: Sequence[Row]
    column: str
    look: dict[str, Any]


OPTIMUM = {"color": GREY, "ls": ":", "marker": ""}
TRAINING = {"color": BLUE, "ls": "-", "marker": "o"}
HELDOUT = {"color": ORANGE, "ls": "--", "marker": "s"}


def by_iteration(lines: Sequence[Line], ylabel: str, about: str) -> Markup | None:
    """Columns against PPO's iterations; None if no row has any of them."""
    found = [(line, [row for row in line.rows if line.column in row]) for line in lines]
    if not any(rows for _, rows in found):
        return None
    plot_figure, axes = figure()
    for line, rows in found:
        if rows:
            x, y = [row["iteration"] for row in rows], [row[line.column] for row in rows]
            axes.plot(x, y, label=line.name, ms=5, markevery=max(1, len(x) // 10), **line.look)
    axes.set(xlabel="iteration", ylabel=ylabel)
    if len(lines) > 1:
        axes.legend(frameon=False)
    return Markup(svg(plot_figure, about))


def drop_uniform_accuracy(rows: Sequence[Row]) -> list[Row]:
    """Rows without the accuracy of iteration 0: the policy is still the uniform reference, so that its argmax is arbitrary."""
    return [{k: v for k, v in row.items() if k != "accuracy_heldout" or row["iteration"] > 0} for row in rows]


def ppo_plots(rows: Sequence[Row]) -> list[tuple[str, Markup]]:
    """Headings and plots of one run of PPO."""
    plots = [
        (
            "Objective J, and its optimum J*",
            [
                Line("J, training images", rows, "J", TRAINING),
                Line("J, held-out images", rows, "J_heldout", HELDOUT),
                Line("J*, training images", rows, "J_star", OPTIMUM),
            ],
            "J",
        ),
        (
            "Attained: 0 is the reference, 1 the exact optimum",
            [
                Line("training images", rows, "attained", TRAINING),
                Line("held-out images", rows, "attained_heldout", HELDOUT),
            ],
            "attained",
        ),
        (
            "KL to the reference",
            [
                Line("training images", rows, "kl", TRAINING),
                Line("held-out images", rows, "kl_heldout", HELDOUT),
                Line("of the exact optimum", rows, "kl_star", OPTIMUM),
            ],
            "nats per image",
        ),
        ("Entropy of the policy", [Line("entropy", rows, "entropy", TRAINING)], "nats"),
        ("Share of ratios that were clipped", [Line("clip fraction", rows, "clip_fraction", TRAINING)], "share"),
    ]
    if len({row["beta"] for row in rows if "beta" in row}) > 1:
        plots.append(("Weight of the KL penalty, beta", [Line("beta", rows, "beta", TRAINING)], "beta"))
    drawn = [(title, by_iteration(lines, unit, f"{title}, by iteration of PPO")) for title, lines, unit in plots]
    return [(title, plot) for title, plot in drawn if plot] + over_optimisation(rows)


def over_optimisation(rows: Sequence[Row]) -> list[tuple[str, Markup]]:
    """Proxy reward and, if labels are known, gold on held-out images, against the distance from the reference."""
    plot_figure, axes = figure()
    draw_proxy(axes, rows)
    if any("spread_heldout" in row for row in rows):
        axes.legend(frameon=False)
    title = "Over-optimisation: reward model"
    plots = [(title, Markup(svg(plot_figure, f"{title}, held-out images, against the {DISTANCE}")))]
    if curve(rows, "gold_heldout")[0]:
        plot_figure, axes = figure()
        draw_gold(axes, rows)
        title = "Over-optimisation: gold"
        plots.append((title, Markup(svg(plot_figure, f"{title}, held-out images, against the {DISTANCE}"))))
    return plots


def shown_classes(classes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most MAX_CLASSES classes, in their order: those whose accuracy changed most (or is lowest, without a policy)."""

    def change(row: Mapping[str, Any]) -> float:
        sides = [row[name]["accuracy"] for name in ("before", "after") if name in row]
        return float(abs(sides[1] - sides[0]) if len(sides) == 2 else 1 - sides[0])

    chosen = sorted(range(len(classes)), key=lambda n: -change(classes[n]))[:MAX_CLASSES]
    return [classes[n] for n in sorted(chosen)]


def class_plot(classes: Sequence[Mapping[str, Any]], chance: float | None = None) -> Markup:
    """Accuracy of each class with its 95 % interval, before and after, and chance if it is given."""
    plot_figure, axes = figure(5.2, 1.0 + 0.36 * len(classes))
    for name, shift, look in (
        ("before", -0.14, {"color": ORANGE, "marker": "s", "mfc": "white"}),
        ("after", 0.14, {"color": BLUE, "marker": "o"}),
    ):
        sides = [(n + shift, row[name]) for n, row in enumerate(classes) if name in row]
        if sides:
            x = [side["accuracy"] for _, side in sides]
            error = [
                [max(0.0, s["accuracy"] - s["low"]) for _, s in sides],
                [max(0.0, s["high"] - s["accuracy"]) for _, s in sides],
            ]
            axes.errorbar(
                x,
                [y for y, _ in sides],
                xerr=error,
                ls="none",
                capsize=3,
                ms=6,
                lw=1.4,
                label=name if chance is None else "policy",
                **look,
            )
    if chance is not None:
        axes.axvline(chance, color=GREY, ls=":", label="chance")
    axes.set(xlabel="accuracy", xlim=(-0.02, 1.02), ylim=(len(classes) - 0.5, -0.5))
    names = [row["name"] if len(row["name"]) <= 18 else row["name"][:17] + "…" for row in classes]
    axes.set_yticks(range(len(classes)), names, parse_math=False)
    axes.grid(False, axis="y")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    compared = "policy and chance" if chance is not None else "reference and policy"
    return Markup(
        svg(plot_figure, f"accuracy of each class with its 95 % interval, {compared}; the table has the numbers")
    )


def calibration_plot(found: Mapping[str, Any]) -> Markup:
    """Reliability diagram before and after, on labelled images."""
    names = {} if found["before"] and found["after"] else {"before": "reference", "after": "policy"}
    return Markup(reliability(found, "probability of the predicted class", "share that is right", names))


def overlay_runs(runs: Sequence[tuple[str, Sequence[Row]]]) -> list[tuple[str, Markup]]:
    """One line per run: held-out objective, attained and KL by iteration; reward and gold by distance."""
    looks = [
        {"color": COLOURS[n % len(COLOURS)], "ls": DASHES[n % len(DASHES)], "marker": MARKS[n % len(MARKS)]}
        for n in range(len(runs))
    ]
    wanted = (
        ("Objective J, held-out images", "J_heldout", "J"),
        ("Attained, held-out images", "attained_heldout", "attained"),
        ("KL to the reference, held-out images", "kl_heldout", "nats per image"),
        ("Entropy of the policy", "entropy", "nats"),
    )
    plots: list[tuple[str, Markup]] = []
    for title, column, unit in wanted:
        lines = [Line(name, rows, column, look) for (name, rows), look in zip(runs, looks, strict=True)]
        if plot := by_iteration(lines, unit, f"{title}, by iteration of PPO, one line per run"):
            plots.append((title, plot))
    for title, column, unit in (
        ("Reward model", "reward_heldout", "mean reward"),
        ("Gold", "gold_heldout", "probability of the true class"),
    ):
        found = [(name, curve(rows, column), look) for (name, rows), look in zip(runs, looks, strict=True)]
        if any(x for _, (x, _), _ in found):
            plot_figure, axes = figure()
            for name, (x, y), look in found:
                if x:
                    axes.plot(x, y, label=name, ms=5, markevery=max(1, len(x) // 10), **look)
            axes.set(xlabel=DISTANCE, ylabel=unit)
            axes.legend(frameon=False)
            plots.append(
                (title, Markup(svg(plot_figure, f"{title}, held-out images, against the {DISTANCE}, one line per run")))
            )
    return plots
