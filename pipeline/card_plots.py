"""The plots of a reward model's card, from its card.json: for the card's own page and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.plots import BLUE, COLOURS, GREY, ORANGE, figure, reliability, svg

TONES = {"ready": "good", "needs more judgments": "wait", "no better than chance": "bad"}


def drawn(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the macros in templates/card_parts.html.jinja show beside the card's figures: its tone and its plots."""
    return {
        "tone": TONES[card["verdict"]["short"]],
        "reliability": Markup(
            reliability(card["calibration"], "probability of the likeliest answer", "share that was given")
        ),
        "curve": Markup(curve_plot(card)) if len(card["curve"]["points"]) > 1 else None,
        "scores": [(kind, Markup(plot)) for kind, plot in score_plots(card)],
    }


def curve_plot(card: Mapping[str, Any]) -> str:
    """Held-out accuracy against the number of judgments, with intervals, beside chance and the ceiling."""
    fig, axis = figure()
    points = card["curve"]["points"]
    x, y = [p["judgments"] for p in points], [p["accuracy"] for p in points]
    error = [[p["accuracy"] - p["low"] for p in points], [p["high"] - p["accuracy"] for p in points]]
    axis.errorbar(x, y, yerr=error, color=BLUE, marker="o", capsize=4, label="held-out accuracy")
    axis.axhline(card["heldout"]["chance"], color=GREY, linestyle=":", label="chance")
    if card["ceiling"]:
        axis.axhline(card["ceiling"]["plug_in"], color=ORANGE, linestyle="--", label="human ceiling")
    axis.set(xlabel="judgments to train on", ylabel="accuracy", xlim=(0, 1.08 * max(x)))
    axis.legend(frameon=False)
    return svg(fig, "held-out accuracy of the reward model against the number of judgments it was trained on")


def score_plots(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One histogram a kind of question: rewards by the answer given."""
    labels = {
        "comparison": "reward of the first side less the second's", "label": "reward",
        "verdict": "reward of the label asked about", "rating": "reward of the label asked about",
    }  # fmt: skip
    made = []
    for scores in card["scores"]:
        fig, axis = figure()
        edges = scores["edges"]
        for number, (name, counts) in enumerate(scores["counts"].items()):
            share = [count / max(1, sum(counts)) for count in counts]
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": ("-", "--", "-.", ":")[number % 4]}
            axis.stairs(share, edges, label=name, linewidth=2, **style)
        axis.axvline(0, color=GREY, linewidth=1)
        axis.set(xlabel=labels[scores["kind"]], ylabel="share of answers")
        axis.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        made.append((scores["kind"], svg(fig, f"histogram of rewards by the answer given: {scores['kind']}")))
    return made
