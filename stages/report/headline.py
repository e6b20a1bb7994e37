"""The headline in words: whether alignment helped, and by which figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.ui.html import number, percent, points

SIGNIFICANT = 0.05  # of McNemar's test: above it the two are not told apart
HELPED, HARMED, LEVEL = "Alignment helped", "Alignment did harm", "Reference and policy are not told apart"
BETTER, WORSE = "The policy is better than chance", "The policy is worse than chance"
BY_CHANCE = "The policy is not told apart from chance"
NO_GOLD, UNFINISHED = "The policy is aligned; without known classes its accuracy cannot be told", "Not finished"

UNIFORM_REFERENCE = " The reference is uniform: every class is equally probable."


def headline(made: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict of a few words, its tone (good, wait, bad) and the sentences that give reasons.

    Args:
        made: figures of a run, as `report_data.figures` returns them.
    """
    found, ppo = made["predictions"], made["ppo"]
    if ppo is None:
        short, tone = UNFINISHED, "wait"
    elif found["uniform_reference"] and found["after"]:
        short, tone = _against_chance(found)
    elif found["paired"] is None:
        short, tone = NO_GOLD, "wait"
    elif found["paired"]["p"] >= SIGNIFICANT:
        short, tone = LEVEL, "wait"
    else:
        short, tone = (HELPED, "good") if found["paired"]["difference"] > 0 else (HARMED, "bad")
    said = [_missing(made), _accuracy(made), _standing(ppo), _changed(found), _reward(made["card"]), _stale(made)]
    return {"short": short, "tone": tone, "sentences": [text for text in said if text]}


def _against_chance(found: Mapping[str, Any]) -> tuple[str, str]:
    """Verdict and tone where the reference is uniform: it has no accuracy to compare with."""
    if found["after"]["low"] > found["chance"]:
        return BETTER, "good"
    return (WORSE, "bad") if found["after"]["high"] < found["chance"] else (BY_CHANCE, "wait")


def where(made: Mapping[str, Any]) -> str:
    """The evaluation images by name: test images, or held-out ones where there is no test/."""
    return "test images" if made["evaluation"] == "test" else "held-out images"


def _interval(side: Mapping[str, Any]) -> str:
    return f"{percent(side['accuracy'])} [{percent(side['low'])}, {percent(side['high'])}]"


def _accuracy(made: Mapping[str, Any]) -> str:
    found = made["predictions"]
    if not found["known"]:
        return (
            f"None of the {found['images']} {where(made)} has a known class: no accuracy can be measured, and nothing "
            f"below says right or wrong.{UNIFORM_REFERENCE if found['uniform_reference'] else ''}"
        )
    some = "" if found["known"] == found["images"] else f" whose class is known (of {found['images']})"
    images = f"On {found['known']} {where(made)}{some}"
    return _beside_chance(found, images) if found["uniform_reference"] else _beside_reference(found, images)


def _beside_chance(found: Mapping[str, Any], images: str) -> str:
    after, chance = found["after"], percent(found["chance"])
    if after is None:
        return f"{images} chance would be right on {chance}.{UNIFORM_REFERENCE}"
    return (
        f"{images} the aligned policy is right on {_interval(after)} (95\u00a0% Wilson interval), where chance would be on "
        f"{chance}, and naming the commonest class every time on {percent(found['commonest'])}.{UNIFORM_REFERENCE} There is no "
        "accuracy before alignment to compare with."
    )


def _beside_reference(found: Mapping[str, Any], images: str) -> str:
    before, after, paired = found["before"], found["after"], found["paired"]
    text = f"{images} the reference is right on {_interval(before)}"
    if after is None:
        return f"{text} (95\u00a0% Wilson interval)."
    p = "p < 0.001" if paired["p"] < 0.001 else f"p = {paired['p']:.3f}"
    return (
        f"{text} and the aligned policy on {_interval(after)} (95\u00a0% Wilson intervals): a paired difference of "
        f"{points(paired['difference'])} points, 95\u00a0% interval {points(paired['low'])} to {points(paired['high'])}. "
        f"{paired['gained']} images went from wrong to right and {paired['lost']} from right to wrong "
        f"(McNemar's exact test, {p})."
    )


def _standing(ppo: Mapping[str, Any] | None) -> str:
    if ppo is None:
        return ""
    end = ppo["result"]
    text = (
        f"PPO came {percent(end['attained'])} of the way from the reference to the exact optimum of its objective "
        f"({percent(end['attained_heldout'])} on held-out images), at a KL of {number(end['kl'], 2)} nats from the "
        f"reference (the optimum's is {number(end['kl_star'], 2)})."
    )
    return text + (
        f" It stopped early: {end['stopped']}; kept is iteration {end['iteration']}." if end["stopped"] else ""
    )


def _changed(found: Mapping[str, Any]) -> str:
    if found["changed"] is None or found["known"]:
        return ""
    return f"The likeliest class became another for {found['changed']['all']} of {found['images']} images."


def _reward(card: Mapping[str, Any] | None) -> str:
    return f'The reward model\'s verdict is "{card["verdict"]["short"]}": {card["verdict"]["why"]}.' if card else ""


def _missing(made: Mapping[str, Any]) -> str:
    missing = made["lineage"]["missing"]
    if not missing:
        return ""
    names = ", ".join(f"{one['stage']} (make {one['target']})" for one in missing)
    return f"{'This stage is' if len(missing) == 1 else 'These stages are'} missing: {names}. What follows is what there is."


def _stale(made: Mapping[str, Any]) -> str:
    stale = [stage["stage"] for stage in made["lineage"]["stages"] if stage["reasons"]]
    return f"Not up to date: {', '.join(stale)}; the lineage below says why." if stale else ""
