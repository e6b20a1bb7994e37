"""card.html: the card as one self-contained page, legible in print and by colour-blind people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.plots import BLUE, COLOURS, GREY, ORANGE, figure, svg

TEMPLATE = Path(__file__).with_name("card.html.jinja")
TONES = {"ready": "good", "needs more judgments": "wait", "no better than chance": "bad"}


def percent(value: float | None, places: int = 1) -> str:
    """0.123 as 12.3 %; a dash for nothing."""
    return "–" if value is None else f"{100 * value:.{places}f} %"


def reliability_plot(card: Mapping[str, Any]) -> str:
    """Accuracy against confidence, before and after calibration; the diagonal is perfect calibration."""
    fig, axis = figure()
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")
    for name, colour, marker in (("before", ORANGE, "s"), ("after", BLUE, "o")):
        measured = card["calibration"][name]
        x, y = ([b[key] for b in measured["bins"]] for key in ("confidence", "accuracy"))
        axis.plot(x, y, color=colour, marker=marker, label=f"{name} (ECE {percent(measured['ece'])})")
    axis.set(
        xlabel="probability of the likeliest answer", ylabel="share that was given", xlim=(0, 1.02), ylim=(0, 1.02)
    )
    axis.legend(frameon=False)
    return svg(fig)


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
    return svg(fig)


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
        axis.legend(frameon=False)
        made.append((scores["kind"], svg(fig)))
    return made


def render(card: Mapping[str, Any], thumbnails: Mapping[str, str | None]) -> str:
    """The page.

    Args:
        thumbnails: data address of each surprising judgment's image, by id.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., str]] = {"percent": percent}
    environment.filters.update(filters)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        card=card, thumbnails=thumbnails, tone=TONES[card["verdict"]["short"]],
        reliability=Markup(reliability_plot(card)),
        curve=Markup(curve_plot(card)) if len(card["curve"]["points"]) > 1 else None,
        scores=[(kind, Markup(plot)) for kind, plot in score_plots(card)],
    )  # fmt: skip
