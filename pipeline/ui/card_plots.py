"""The plots of a reward model's card, from its card.json: for the card's own page and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.ui.plots import BLUE, COLOURS, GREY, ORANGE, figure, legend_above, reliability, svg

REPEATED = 10  # items judged more than once below which nothing is said of how well people agree with themselves
FITTED_ON = 50  # judgments below which a temperature fitted on them says nothing
TONES = {"ready": "good", "needs more judgments": "wait", "no better than chance": "bad"}


def draw_card_plots(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the macros in templates/card_parts.html.jinja show beside the card's figures: its tone, its plots, and which
    of its figures can be relied on.
    """
    calibration, doubts = card["calibration"], calibration_doubts(card)
    measured, names = ({"before": calibration["before"]}, {"before": "as it is"}) if doubts else (calibration, {})
    return {
        "tone": TONES[card["verdict"]["short"]],
        "ceiling": repeated(card),
        "doubts": doubts,
        "reliability": Markup(
            reliability(measured, "probability of the likeliest answer", "share that was given", names)
        ),
        "curve": Markup(curve_plot(card)) if len(card["curve"]["points"]) > 1 else None,
        "scores": [(kind, Markup(plot)) for kind, plot in score_plots(card)],
    }


def calibration_doubts(card: Mapping[str, Any]) -> str | None:
    """Why the calibrated figures are no improvement, as a sentence; None if they are one."""
    heldout, calibration = card["heldout"], card["calibration"]
    fitted_on = calibration.get("fitted_on", heldout["judgments"] // 2)  # cards of older runs do not say
    few = fitted_on < FITTED_ON
    on = f"{fitted_on} judgments, one half of the held-out ones"
    loss, cooled = f"{heldout['log_loss']:.3f}", f"{heldout['log_loss_calibrated']:.3f}"
    if heldout["log_loss_calibrated"] > heldout["log_loss"]:
        return (
            f"Calibration did not help: a temperature fitted on {on}{', which are too few' if few else ''}, made the log loss "
            f"of the other half worse: {loss} became {cooled}. The figures are those without it."
        )
    if few:
        return (
            f"Calibration is left out: a temperature fitted on {on}, says nothing (at least {FITTED_ON} are needed), although "
            f"the log loss of the other half happened to fall from {loss} to {cooled}."
        )
    return None


def repeated(card: Mapping[str, Any]) -> dict[str, Any]:
    """The human ceiling with `items`, how many were judged more than once, and whether they are `enough` to show it."""
    ceiling = card["ceiling"]
    if not ceiling:
        return {"items": 0, "enough": False}
    items = ceiling.get("items", ceiling["judgments"] // 2)  # cards of older runs do not say
    return {**ceiling, "items": items, "enough": items >= REPEATED}


def curve_plot(card: Mapping[str, Any]) -> str:
    """Held-out accuracy against the number of judgments, with intervals, beside chance and the ceiling."""
    fig, axis = figure()
    points = card["curve"]["points"]
    x, y = [p["judgments"] for p in points], [p["accuracy"] for p in points]
    error = [[p["accuracy"] - p["low"] for p in points], [p["high"] - p["accuracy"] for p in points]]
    axis.errorbar(x, y, yerr=error, color=BLUE, marker="o", capsize=4, label="held-out accuracy")
    axis.axhline(card["heldout"]["chance"], color=GREY, linestyle=":", label="chance")
    if repeated(card)["enough"]:
        axis.axhline(card["ceiling"]["plug_in"], color=ORANGE, linestyle="--", label="human ceiling")
    axis.set(xlabel="judgments to train on", ylabel="accuracy", xlim=(0, 1.08 * max(x)))
    legend_above(axis)
    return svg(fig, "held-out accuracy of the reward model against the number of judgments it was trained on")


def score_plots(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One histogram per kind of question: rewards by the answer given. Cards of older runs do not name the axis."""
    made = []
    for scores in card["scores"]:
        fig, axis = figure()
        edges = scores["edges"]
        for number, (name, counts) in enumerate(scores["counts"].items()):
            share = [count / max(1, sum(counts)) for count in counts]
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": ("-", "--", "-.", ":")[number % 4]}
            axis.stairs(share, edges, label=name, linewidth=2, **style)
        axis.axvline(0, color=GREY, linewidth=1)
        axis.set(xlabel=scores.get("axis", "reward"), ylabel="share of answers")
        axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        made.append((scores["kind"], svg(fig, f"histogram of rewards by the answer given: {scores['kind']}")))
    return made
