"""What was asked and answered, by whom, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from feedback_store import agreement
from feedback_store.csv_store.store import FeedbackStore

ASKED = {
    "comparison": "which of two labels fits the image better?",
    "image_comparison": "which of two images is the better example of a label?",
    "label": "which class is this image?",
    "verdict": "is this label right?",
    "rating": "how well does this label fit?",
}
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
    stored = [store.all_comparisons(), store.all_per_image()]
    pairs, per_image = store.comparisons(), store.per_image_judgments()
    total = len(pairs) + len(per_image)
    if not total:
        return None
    own = pairs["image_a"] == pairs["image_b"]
    frames = {"comparison": pairs[own], "image_comparison": pairs[~own]}
    frames |= {kind: per_image[per_image["question"] == kind] for kind in ("label", "verdict", "rating")}
    everything = pd.concat([pairs, per_image])
    quality = agreement.as_json(agreement.quality(pairs, per_image, gold))
    agree = {row["question"]: row for row in quality["questions"]}
    return {
        "judgments": total,
        "taken_back": sum(int((frame["retracts"] != "").sum()) for frame in stored),
        "first": everything["created_at"].min(),
        "last": everything["created_at"].max(),
        "sources": {SOURCES.get(str(k), str(k)): int(n) for k, n in everything["source"].value_counts().items()},
        "kinds": [
            {"kind": kind, "asked": ASKED[kind], "answers": _answers(kind, frame)} | _seconds(frame) | agree[kind]
            for kind, frame in frames.items()
            if len(frame)
        ],
        "classes": _classes(frames),
        "annotators": quality["annotators"],
    }


def _answers(kind: str, frame: pd.DataFrame) -> dict[str, int]:
    """How often each answer was given; for comparisons, by the place the chosen side was shown in."""
    if "comparison" not in kind:
        return {str(k): int(n) for k, n in frame["answer"].value_counts().items()}
    decided = frame["choice"].isin(("a", "b"))
    first = frame["choice"] == frame["shown_first"]
    said = frame["choice"].mask(decided & first, "the side shown first").mask(decided & ~first, "the other side")
    return {str(k): int(n) for k, n in said.value_counts().items()}


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

    pairs = frames["comparison"]
    if len(pairs):
        count("compared", pd.concat([pairs["label_a"], pairs["label_b"]]))
        chosen = pairs["label_a"].where(pairs["choice"] == "a", pairs["label_b"])
        count("preferred", chosen[pairs["choice"].isin(("a", "b"))])
    labels = frames["label"]["answer"]
    count("chosen", labels[~labels.isin(("cant_tell", "bad_image"))])
    verdicts = frames["verdict"]
    count("verdicts", verdicts["label"])
    count("yes", verdicts.loc[verdicts["answer"] == "yes", "label"])
    count("rated", frames["rating"]["label"])
    return [{"name": name, **columns} for name, columns in sorted(found.items())]
