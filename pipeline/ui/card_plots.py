"""The plots of a reward model's card, from its card.json, for the card's page and the report (docs/method.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.ui.plots import BLUE, COLOURS, GREY, ORANGE, figure, legend_above, reliability, svg

MIN_REPEATED_ITEMS = 10  # items judged more than once that the human ceiling needs
MIN_CALIBRATION_JUDGMENTS = 50  # judgments that a temperature must be fitted on
TONES = {"ready": "good", "needs more judgments": "wait", "no better than chance": "bad"}


def draw_card_plots(card: Mapping[str, Any]) -> dict[str, Any]:
    """The additional values for the macros in templates/card_parts.html.jinja: the tone, the plots, and which results are
    reliable.
    """
    calibration, doubts = card["calibration"], calibration_doubts(card)
    shown, names = ({"before": calibration["before"]}, {"before": "uncalibrated"}) if doubts else (calibration, {})
    return {
        "tone": TONES[card["verdict"]["short"]],
        "ceiling": repeated(card),
        "doubts": doubts,
        "reliability": Markup(
            reliability(shown, "probability of the most probable answer", "share of correct answers", names)
        ),
        "curve": Markup(curve_plot(card)) if len(card["curve"]["points"]) > 1 else None,
        "scores": [(kind, Markup(plot)) for kind, plot in score_plots(card)],
    }


def calibration_doubts(card: Mapping[str, Any]) -> str | None:
    """Why the calibrated results are not used, as a sentence; None if they are."""
    heldout, calibration = card["heldout"], card["calibration"]
    fitted_on = calibration.get("fitted_on", heldout["judgments"] // 2)  # missing in cards of older runs
    few = fitted_on < MIN_CALIBRATION_JUDGMENTS
    on = f"{fitted_on} judgments, one half of the held-out ones"
    loss, scaled = f"{heldout['log_loss']:.3f}", f"{heldout['log_loss_calibrated']:.3f}"
    if heldout["log_loss_calibrated"] > heldout["log_loss"]:
        return (
            f"Calibration did not help: a temperature fitted on {on}{', which are too few' if few else ''}, increased the log loss "
            f"of the other half from {loss} to {scaled}. The results are shown without it."
        )
    if few:
        return (
            f"Calibration is left out: a temperature fitted on {on}, is not reliable (at least {MIN_CALIBRATION_JUDGMENTS} are needed), although "
            f"the log loss of the other half fell from {loss} to {scaled}."
        )
    return None


def repeated(card: Mapping[str, Any]) -> dict[str, Any]:
    """The human ceiling with `items`, the number judged more than once, and whether that is `enough` to show it."""
    ceiling = card["ceiling"]
    if not ceiling:
        return {"items": 0, "enough": False}
    items = ceiling.get("items", ceiling["judgments"] // 2)  # missing in cards of older runs
    return {**ceiling, "items": items, "enough": items >= MIN_REPEATED_ITEMS}


def curve_plot(card: Mapping[str, Any]) -> str:
    """Held-out accuracy against the number of judgments, with intervals, chance and the human ceiling."""
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
    plots = []
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
        plots.append((scores["kind"], svg(fig, f"histogram of rewards by the answer given: {scores['kind']}")))
    return plots
