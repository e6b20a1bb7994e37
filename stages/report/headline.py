"""The headline: whether alignment helped, and the metrics that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.run.estimate_file import sentence
from pipeline.ui.html import number, percent, points

SIGNIFICANCE = 0.05  # level of McNemar's test
HELPED, HARMED, LEVEL = (
    "Alignment helped",
    "Alignment did harm",
    "No significant difference between reference and policy",
)
BETTER, WORSE = "The policy is better than chance", "The policy is worse than chance"
BY_CHANCE = "The policy is not significantly different from chance"
NO_GOLD, UNFINISHED = (
    "The policy is aligned; without labelled evaluation images its accuracy is unknown",
    "Not finished",
)

UNIFORM_REFERENCE = " The reference is uniform: every class is equally probable."


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """A short verdict, its tone (good, wait, bad) and the sentences with its reasons.

    Args:
        report: results of a run, as `report_data.figures` returns them.
    """
    predictions, ppo = report["predictions"], report["ppo"]
    if ppo is None:
        short, tone = UNFINISHED, "wait"
    elif predictions["uniform_reference"] and predictions["after"]:
        short, tone = _against_chance(predictions)
    elif predictions["paired"] is None:
        short, tone = NO_GOLD, "wait"
    elif predictions["paired"]["p"] >= SIGNIFICANCE:
        short, tone = LEVEL, "wait"
    else:
        short, tone = (HELPED, "good") if predictions["paired"]["difference"] > 0 else (HARMED, "bad")
    sentences = [
        _missing(report),
        _accuracy(report),
        sentence(ppo["estimate"]) if ppo and ppo.get("estimate") else "",
        _ppo(ppo),
        _changed(predictions),
        _reward(report["card"]),
        _stale(report),
    ]
    return {"short": short, "tone": tone, "sentences": [text for text in sentences if text]}


def _against_chance(predictions: Mapping[str, Any]) -> tuple[str, str]:
    """Verdict and tone with a uniform reference, which has no accuracy to compare with."""
    if predictions["after"]["low"] > predictions["chance"]:
        return BETTER, "good"
    return (WORSE, "bad") if predictions["after"]["high"] < predictions["chance"] else (BY_CHANCE, "wait")


def where(report: Mapping[str, Any]) -> str:
    """The evaluation images in words: test images, or held-out images without a test split."""
    return "test images" if report["evaluation"] == "test" else "held-out images"


def _interval(side: Mapping[str, Any]) -> str:
    return f"{percent(side['accuracy'])} [{percent(side['low'])}, {percent(side['high'])}]"


def _accuracy(report: Mapping[str, Any]) -> str:
    predictions = report["predictions"]
    if not predictions["known"]:
        return (
            f"None of the {predictions['images']} {where(report)} has a label, so accuracy is unknown."
            f"{UNIFORM_REFERENCE if predictions['uniform_reference'] else ''}"
        )
    some = "" if predictions["known"] == predictions["images"] else f" with a label (of {predictions['images']})"
    images = f"On {predictions['known']} {where(report)}{some}"
    return (
        _compare_with_chance(predictions, images)
        if predictions["uniform_reference"]
        else _compare_with_reference(predictions, images)
    )


def _compare_with_chance(predictions: Mapping[str, Any], images: str) -> str:
    after, chance = predictions["after"], percent(predictions["chance"])
    if after is None:
        return f"{images} chance is {chance}.{UNIFORM_REFERENCE}"
    return (
        f"{images} the accuracy of the aligned policy is {_interval(after)} (95\u00a0% Wilson interval); chance is {chance}, and "
        f"always predicting the most common class gives {percent(predictions['commonest'])}.{UNIFORM_REFERENCE} There is no "
        "accuracy before alignment to compare with."
    )


def _compare_with_reference(predictions: Mapping[str, Any], images: str) -> str:
    before, after, paired = predictions["before"], predictions["after"], predictions["paired"]
    text = f"{images} the accuracy of the reference is {_interval(before)}"
    if after is None:
        return f"{text} (95\u00a0% Wilson interval)."
    p = "p < 0.001" if paired["p"] < 0.001 else f"p = {paired['p']:.3f}"
    return (
        f"{text} and that of the aligned policy {_interval(after)} (95\u00a0% Wilson intervals): a paired difference of "
        f"{points(paired['difference'])} points, 95\u00a0% interval {points(paired['low'])} to {points(paired['high'])}. "
        f"{paired['gained']} images went from wrong to right and {paired['lost']} from right to wrong "
        f"(McNemar's exact test, {p})."
    )


def _ppo(ppo: Mapping[str, Any] | None) -> str:
    if ppo is None:
        return ""
    end = ppo["result"]
    text = (
        f"PPO attained {percent(end['attained'])} of the distance from the reference to the exact optimum of its objective "
        f"({percent(end['attained_heldout'])} on held-out images), at a KL of {number(end['kl'], 2)} nats from the "
        f"reference (the optimum's is {number(end['kl_star'], 2)})."
    )
    return text + (
        f" It stopped early: {end['stopped']}; the policy is that of iteration {end['iteration']}."
        if end["stopped"]
        else ""
    )


def _changed(predictions: Mapping[str, Any]) -> str:
    if predictions["changed"] is None or predictions["known"]:
        return ""
    return f"The most probable class changed for {predictions['changed']['all']} of {predictions['images']} images."


def _reward(card: Mapping[str, Any] | None) -> str:
    return f'The reward model\'s verdict is "{card["verdict"]["short"]}": {card["verdict"]["why"]}.' if card else ""


def _missing(report: Mapping[str, Any]) -> str:
    missing = report["lineage"]["missing"]
    if not missing:
        return ""
    names = ", ".join(f"{one['stage']} (make {one['target']})" for one in missing)
    return f"{'This stage is' if len(missing) == 1 else 'These stages are'} missing: {names}. The report shows the finished stages."


def _stale(report: Mapping[str, Any]) -> str:
    stale = [stage["stage"] for stage in report["lineage"]["stages"] if stage["reasons"]]
    return f"Not up to date: {', '.join(stale)}; see the lineage below." if stale else ""
