"""Several runs as one table: their results, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from pipeline.ui.html import number, percent, points
from stages.report.lineage import flat
from stages.report.report_data import Figures

IGNORED_SETTINGS = ("name", "runs")  # every run has its own name; it heads the column


def comparison_table(runs: Sequence[Figures]) -> dict[str, Any]:
    """The content of the page of several runs.

    Returns:
        `runs`: names; `headlines`: verdict of each; `rows`: metric and one cell per run; `settings`: key and one cell per
        run, of settings that differ; `same_images`: whether all were evaluated on the same images.
    """
    fingerprints = {one["lineage"]["images"]["fingerprint"] for one in runs}
    return {
        "runs": [one["name"] for one in runs],
        "headlines": [one["headline"]["short"] for one in runs],
        "tones": [one["headline"]["tone"] for one in runs],
        "rows": [{"name": name, "cells": [_cell(cell, one) for one in runs]} for name, cell in ROWS],
        "settings": differing(runs),
        "same_images": len(fingerprints) == 1,
    }


def differing(runs: Sequence[Figures]) -> list[dict[str, Any]]:
    """The settings that are not the same in all runs, by dotted key."""
    each = [dict(flat(yaml.safe_load(one["config"]))) for one in runs]
    keys = list(dict.fromkeys(key for settings in each for key in settings))
    return [
        {"key": key, "cells": [_shown(settings.get(key)) for settings in each]}
        for key in keys
        if key not in IGNORED_SETTINGS and any(settings.get(key) != each[0].get(key) for settings in each)
    ]


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def _cell(cell: Callable[[Figures], str], one: Figures) -> str:
    """A metric of one run; a dash if its stage is missing or the metric is unknown."""
    try:
        return cell(one)
    except (KeyError, TypeError):  # None where a stage is missing or there is no gold
        return "–"


def _accuracy(side: dict[str, Any]) -> str:
    return f"{percent(side['accuracy'])} [{percent(side['low'])}, {percent(side['high'])}]"


def _before(runs: dict[str, Any], cell: Callable[[dict[str, Any]], str]) -> str:
    """A metric of the reference; "uniform" if it is uniform and has no metrics of its own."""
    return "uniform" if runs["uniform_reference"] else cell(runs["before"])


def _difference(paired: dict[str, Any]) -> str:
    return f"{points(paired['difference'])} [{points(paired['low'])}, {points(paired['high'])}]"


ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    (
        "evaluation images with a known class",
        lambda one: f"{one['predictions']['known']} of {one['predictions']['images']}",
    ),
    ("reference, accuracy [95 %]", lambda one: _before(one["predictions"], _accuracy)),
    ("chance", lambda one: percent(one["predictions"]["chance"])),
    ("policy, accuracy [95 %]", lambda one: _accuracy(one["predictions"]["after"])),
    ("policy, accuracy from audit answers [95 %]", lambda one: _accuracy(one["ppo"]["estimate"])),
    ("paired difference, points [95 %]", lambda one: _difference(one["predictions"]["paired"])),
    ("right to wrong", lambda one: str(one["predictions"]["paired"]["lost"])),
    ("wrong to right", lambda one: str(one["predictions"]["paired"]["gained"])),
    ("predictions that changed", lambda one: str(one["predictions"]["changed"]["all"])),
    ("reference, ECE", lambda one: _before(one["predictions"], lambda side: percent(side["ece"]))),
    ("policy, ECE", lambda one: percent(one["predictions"]["after"]["ece"])),
    ("judgments", lambda one: str(one["judged"]["judgments"])),
    ("reward model, verdict", lambda one: one["card"]["verdict"]["short"]),
    ("reward model, held-out accuracy [95 %]", lambda one: _accuracy(one["card"]["heldout"])),
    ("attained, training images", lambda one: percent(one["ppo"]["result"]["attained"])),
    ("attained, held-out images", lambda one: percent(one["ppo"]["result"]["attained_heldout"])),
    ("J", lambda one: number(one["ppo"]["result"]["J"])),
    ("J*", lambda one: number(one["ppo"]["result"]["J_star"])),
    ("KL to the reference, nats", lambda one: number(one["ppo"]["result"]["kl"])),
    ("KL of the exact optimum, nats", lambda one: number(one["ppo"]["result"]["kl_star"])),
    ("beta at the end", lambda one: number(one["ppo"]["result"]["beta"])),
    ("seconds, all stages", lambda one: f"{sum(stage['seconds'] for stage in one['lineage']['stages']):.0f}"),
    ("peak memory, MB", lambda one: f"{max(stage['peak_rss_mb'] for stage in one['lineage']['stages']):.0f}"),
    ("all up to date", lambda one: "yes" if one["lineage"]["up_to_date"] else "no"),
)
