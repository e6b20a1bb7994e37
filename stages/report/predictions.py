"""Reference and policy compared on the evaluation images: accuracy, confusion, calibration and changed predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.data.gold_labels import GoldLabels
from pipeline.data.image_table import ImageTable
from pipeline.learning.statistics import (
    CALIBRATION_BINS,
    is_uniform,
    paired_difference,
    reliability,
    wilson_interval,
)

MAX_SHOWN = 48  # changed images on the page
LOST, GAINED, OTHER, UNKNOWN = "right to wrong", "wrong to right", "wrong to another wrong", "true class not known"
CHANGES = (LOST, GAINED, OTHER, UNKNOWN)  # in the order they are shown
WRONG, RIGHT = "wrong", "right"
MAX_CONFUSED_PAIRS = 20


def compare_predictions(
    table: ImageTable, gold: GoldLabels, log_before: Tensor, log_after: Tensor | None, *, rows: np.ndarray
) -> dict[str, Any]:
    """All metrics of the predictions for the images `rows`.

    Args:
        log_before, log_after: [N, C] log-probabilities of reference and policy; None without a policy.

    Returns:
        `images`, `known` (how many have a gold label), `uniform_reference`, `chance` (1 / C) and
        `commonest` (the share of the most common class); `before`, `after` (accuracy with its interval, ECE and bins)
        and `paired`, None without gold or policy; `classes`, `confusion`; `changed`, None without a policy.
        A uniform reference has no most probable class: then `before`, `paired` and `changed` are None, and
        `first_predictions` has the policy's predictions.
    """
    known = rows[gold.known[rows]]
    labels = gold.labels[known]
    uniform_reference = is_uniform(log_before[rows])
    tables = ({} if uniform_reference else {"before": log_before}) | ({} if log_after is None else {"after": log_after})
    probabilities = {name: log_pi.exp().numpy() for name, log_pi in tables.items()}
    result: dict[str, Any] = {
        "images": len(rows),
        "known": len(known),
        "uniform_reference": uniform_reference,
        "chance": 1 / log_before.shape[1],
        "commonest": float(np.bincount(labels).max() / len(labels)) if len(labels) else None,
        "before": None,
        "after": None,
        "paired": None,
        "classes": [],
        "confusion": {},
        "changed": None,
        "first_predictions": None,
    }
    if len(known):
        right = {name: p[known].argmax(-1) == labels for name, p in probabilities.items()}
        for name, p in probabilities.items():
            result[name] = share(right[name]) | reliability(p[known].max(-1), right[name], CALIBRATION_BINS)
            result["confusion"][name] = confusion(labels, p[known].argmax(-1), len(gold.classes)).tolist()
        result["classes"] = by_class(gold.classes, labels, right) if right else []
        if len(right) == 2:
            result["paired"] = asdict(paired_difference(right["before"], right["after"]))
    if uniform_reference and "after" in probabilities:
        result["first_predictions"] = first_predictions(table, gold, probabilities["after"], rows)
    elif "after" in probabilities:
        result["changed"] = changed_predictions(table, gold, probabilities["before"], probabilities["after"], rows=rows)
    return result


def share(right: np.ndarray) -> dict[str, Any]:
    """Accuracy of [n > 0] bool (whether right), with its 95 % Wilson interval."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return {"right": int(right.sum()), "images": len(right), "accuracy": float(right.mean()), "low": low, "high": high}


def by_class(classes: Sequence[str], labels: np.ndarray, right: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """`share` of each class that has an image, before and after."""
    present = np.unique(labels)
    return [
        {"name": classes[c], "images": int((labels == c).sum())}
        | {name: share(correct[labels == c]) for name, correct in right.items()}
        for c in present
    ]


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[C, C] counts; rows are true classes, columns predictions."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def most_confused(matrices: dict[str, list[list[int]]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent pairs of true class and wrong prediction, before or after, in descending order."""
    stacked = np.stack([np.array(m) for m in matrices.values()])
    worst = stacked.max(0)
    np.fill_diagonal(worst, 0)
    order = np.argsort(-worst, axis=None, kind="stable")[:MAX_CONFUSED_PAIRS]
    pairs = [divmod(int(place), len(classes)) for place in order if worst.flat[place]]
    return [
        {"true": classes[t], "predicted": classes[p]} | {name: matrices[name][t][p] for name in matrices}
        for t, p in pairs
    ]


def changed_predictions(
    table: ImageTable, gold: GoldLabels, before: np.ndarray, after: np.ndarray, *, rows: np.ndarray
) -> dict[str, Any]:
    """The images whose most probable class changed, in the order of CHANGES, within each the most confident first.

    Args:
        before, after: [N, C] probabilities.

    Returns:
        `counts` of each kind of change; `images`: at most MAX_SHOWN of them, with id, path, the true class (None if it is
        not known), both classes and each side's probability of both; `rest`: how many more there are.
    """
    old, new = before.argmax(-1), after.argmax(-1)
    changed = [int(row) for row in rows if old[row] != new[row]]
    kind = {row: _kind(int(gold.labels[row]), int(old[row]), int(new[row])) for row in changed}
    changed.sort(key=lambda row: (CHANGES.index(kind[row]), -after[row, new[row]], table.ids[row]))
    listed = [
        {
            "image": str(table.ids[row]),
            "path": str(table.paths[row]),
            "kind": kind[row],
            "true": gold.classes[gold.labels[row]] if gold.labels[row] >= 0 else None,
            "before": gold.classes[old[row]],
            "after": gold.classes[new[row]],
            "before_probability": float(before[row, old[row]]),
            "after_probability": float(after[row, new[row]]),
        }
        for row in changed[:MAX_SHOWN]
    ]
    counts = {name: sum(k == name for k in kind.values()) for name in CHANGES}
    return {"all": len(changed), "counts": counts, "images": listed, "rest": len(changed) - len(listed)}


def first_predictions(table: ImageTable, gold: GoldLabels, after: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """The policy's predictions where the reference is uniform: wrong ones first, then the least confident.

    Args:
        after: [N, C] probabilities.

    Returns:
        `counts` of wrong, right and unknown; `images`: at most MAX_SHOWN of them; `rest`: how many more there are.
    """
    best, labels = after.argmax(-1), gold.labels
    kind = {int(row): UNKNOWN if labels[row] < 0 else RIGHT if labels[row] == best[row] else WRONG for row in rows}
    order = sorted(kind, key=lambda row: (kind[row] != WRONG, after[row, best[row]], table.ids[row]))
    listed = [
        {
            "image": str(table.ids[row]),
            "path": str(table.paths[row]),
            "kind": kind[row],
            "true": gold.classes[labels[row]] if labels[row] >= 0 else None,
            "after": gold.classes[best[row]],
            "after_probability": float(after[row, best[row]]),
        }
        for row in order[:MAX_SHOWN]
    ]
    counts = {name: sum(k == name for k in kind.values()) for name in (WRONG, RIGHT, UNKNOWN)}
    return {"all": len(order), "counts": counts, "images": listed, "rest": len(order) - len(listed)}


def _kind(true: int, old: int, new: int) -> str:
    if true < 0:
        return UNKNOWN
    return LOST if old == true else GAINED if new == true else OTHER
