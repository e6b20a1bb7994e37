"""What was asked and answered, by whom, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from feedback_store import agreement
from feedback_store.schemas import schemas
from feedback_store.store import FeedbackStore

SOURCES = {
    "web": "people, on the page",
    "tk": "people, in the window",
    "simulated": "a simulated teacher",
    "replay": "recorded labels, replayed",
    "import": "imported",
}


def judged(store: FeedbackStore, gold: Mapping[str, str]) -> dict[str, Any] | None:
    """Counts and quality of the judgments that stand; None if there is none.

    Args:
        gold: true class of each image whose class is known.
    """
    stored = [store.all_rows("pairwise"), store.all_rows("per_image")]
    pairs, per_image = store.comparisons(), store.per_image_judgments()
    total = len(pairs) + len(per_image)
    if not total:
        return None
    tables = {"pairwise": pairs, "per_image": per_image}
    frames = {schema.name: tables[schema.table][schema.select(tables[schema.table])] for schema in schemas}
    everything = pd.concat([pairs, per_image])
    quality = agreement.as_json(store.quality(gold))
    agree = {row["question"]: row for row in quality["questions"]}
    return {
        "judgments": total,
        "taken_back": sum(int((frame["retracts"] != "").sum()) for frame in stored),
        "first": everything["created_at"].min(),
        "last": everything["created_at"].max(),
        "sources": {SOURCES.get(str(k), str(k)): int(n) for k, n in everything["source"].value_counts().items()},
        "kinds": [
            {"kind": name, "asked": f"{schemas.get(name).asks}?", "answers": schemas.get(name).answer_counts(frame)}
            | _seconds(frame)
            | agree[name]
            for name, frame in frames.items()
            if len(frame)
        ],
        "classes": _classes(frames),
        "annotators": quality["annotators"],
    }


def _seconds(frame: pd.DataFrame) -> dict[str, Any]:
    """Median and 90th percentile of the time an answer took; None where it was not measured."""
    taken = pd.to_numeric(frame["response_ms"]).dropna() / 1000
    if not len(taken):
        return {"median_seconds": None, "p90_seconds": None}
    return {"median_seconds": float(taken.median()), "p90_seconds": float(taken.quantile(0.9))}


def _classes(frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """For each label: how often it was asked about, and how often the answer was in its favour, by kind of question."""
    found: dict[str, dict[str, Any]] = {}

    def count(column: str, values: pd.Series) -> None:
        for name, times in values.value_counts().items():
            found.setdefault(str(name), {})[column] = int(times)

    for kind, frame in frames.items():
        if len(frame):
            for column, values in schemas.get(kind).label_counts(frame).items():
                count(column, values)
    return [{"name": name, **columns} for name, columns in sorted(found.items())]
