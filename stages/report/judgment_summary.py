"""The judgments of a run: counts by question, label and annotator, and their quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from feedback_store import agreement
from feedback_store.audit import base_source, is_audit
from feedback_store.schemas import schemas
from feedback_store.store import FeedbackStore
from pipeline.learning.person_seconds import is_simulated
from stages.report.round_summary import cost_sentence

SOURCES = {
    "web": "people, on the page",
    "tk": "people, in the window",
    "simulated": "a simulated teacher",
    "replay": "recorded labels, replayed",
    "import": "imported",
}


def summarise_judgments(store: FeedbackStore, gold: Mapping[str, str], classes: int) -> dict[str, Any] | None:
    """Counts, quality and cost of the current judgments; None without judgments.

    Args:
        gold: true class of each image whose class is known.
        classes: number of classes.
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
    headings, labels = _by_label(frames)
    agree = {row["question"]: row for row in quality["questions"]}
    return {
        "judgments": total,
        "cost": cost_sentence(store, classes),
        "taken_back": sum(int((frame["retracts"] != "").sum()) for frame in stored),
        "first": everything["created_at"].min(),
        "last": everything["created_at"].max(),
        "sources": {_source(str(k)): int(n) for k, n in everything["source"].value_counts().items()},
        "kinds": [
            {"kind": name, "asked": f"{schemas.get(name).asks}?", "answers": schemas.get(name).answer_counts(frame)}
            | _seconds(frame)
            | agree[name]
            for name, frame in frames.items()
            if len(frame)
        ],
        "class_columns": headings,
        "classes": labels,
        "annotators": quality["annotators"],
    }


def _source(source: str) -> str:
    name = SOURCES.get(base_source(source), base_source(source))
    return f"{name} (audit)" if is_audit(source) else name


def _seconds(frame: pd.DataFrame) -> dict[str, Any]:
    """Median and 90th percentile of the response time, in seconds; None if it was not measured.

    `simulated_times` says whether it was simulated: empty, `simulated` or `partly simulated`.
    """
    taken = pd.to_numeric(frame["response_ms"]).dropna() / 1000
    if not len(taken):
        return {"median_seconds": None, "p90_seconds": None, "simulated_times": ""}
    share = is_simulated(frame["source"][taken.index]).mean()
    return {
        "median_seconds": float(taken.median()),
        "p90_seconds": float(taken.quantile(0.9)),
        "simulated_times": "simulated" if share == 1 else "partly simulated" if share else "",
    }


def _by_label(frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """How often each label was asked about, and how often the answer was in its favour, by kind of question.

    Returns:
        heading of each column that occurs, and a row per label.
    """
    headings: dict[str, str] = {}
    rows: dict[str, dict[str, int]] = {}
    for kind, frame in frames.items():
        for column in schemas.get(kind).label_counts(frame) if len(frame) else []:
            headings[column.name] = column.heading
            for label, times in column.labels.value_counts().items():
                rows.setdefault(str(label), {})[column.name] = int(times)
    return headings, [{"name": label, **counts} for label, counts in sorted(rows.items())]
