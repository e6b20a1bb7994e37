"""Quality of judgments: agreement between annotators, consistency, accuracy on gold items, side bias and speed.

An item is one question, whichever side was shown first. `cant_tell` and `bad_image` count in `no_answer` only. If an
annotator answered an item several times, agreement uses the first answer, and consistency compares the later ones with
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
import pandas as pd

from feedback_store.records import NO_ANSWER
from feedback_store.schemas import Schema, schemas

FAST_MS = 300  # too short to look at an image, decide and press a key


@dataclass(frozen=True, eq=False)
class Quality:
    """Statistics of all current judgments.

    Attributes:
        questions: one row per kind of question: judgments, items, annotators, no_answer (share), alpha (Krippendorff's;
            ordinal for ratings, nominal otherwise), agreement (share of pairs of different people's answers to the
            same item that are the same). NaN where no item was answered by two people.
        annotators: one row per person: judgments, no_answer, agreement (with others), consistency (share of repeated
            answers that are the same as the first) and repeats, gold_accuracy and gold (answers to items whose answer is
            known), first_side (share of comparisons in which the side shown first was chosen), side_bias_p (two-sided
            binomial test of that being 1/2), median_ms, fast (share of answers faster than the threshold).
    """

    questions: pd.DataFrame
    annotators: pd.DataFrame


def quality(
    pairs: pd.DataFrame, per_image: pd.DataFrame, gold: Mapping[str, str] | None = None, fast_ms: int = FAST_MS
) -> Quality:
    """Statistics of comparisons and per-image judgments as `FeedbackStore` reads them.

    Args:
        gold: true class of each image whose class is known.
    """
    frames = {"pairwise": pairs, "per_image": per_image}
    answers = pd.concat([_answers(schema, frames[schema.table], gold or {}) for schema in schemas])
    answered = answers[~answers["none"]]
    repeated = answered.duplicated(["kind", "item", "annotator"])
    first = answered[~repeated]
    kinds = [
        {
            "question": kind,
            "judgments": len(group),
            "items": group["item"].nunique(),
            "annotators": group["annotator"].nunique(),
            "no_answer": group["none"].mean(),
            **_between_people(first[first["kind"] == kind], schemas.get(str(kind)).scale),
        }
        for kind, group in answers.groupby("kind", sort=False)
    ]
    agreement, consistency = _with_others(first), _with_oneself(answered, repeated)
    people = [
        {"annotator": name, **_person(group, fast_ms), **consistency.get(name, {}), **agreement.get(name, {})}
        for name, group in ((str(name), group) for name, group in answers.groupby("annotator"))
    ]
    return Quality(_table(kinds, QUESTION_COLUMNS), _table(people, ANNOTATOR_COLUMNS))


QUESTION_COLUMNS = ("question", "judgments", "items", "annotators", "no_answer", "alpha", "agreement")
ANNOTATOR_COLUMNS = (
    "annotator",
    "judgments",
    "no_answer",
    "agreement",
    "consistency",
    "repeats",
    "gold_accuracy",
    "gold",
    "first_side",
    "side_bias_p",
    "median_ms",
    "fast",
)


def _table(rows: Sequence[Mapping[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in frame.columns.difference(["question", "annotator"]):
        frame[name] = pd.to_numeric(frame[name])
    for name in frame.columns.intersection(["repeats", "gold"]):
        frame[name] = frame[name].fillna(0).astype(int)
    return frame


def _answers(schema: Schema, table: pd.DataFrame, gold: Mapping[str, str]) -> pd.DataFrame:
    """Rows of one kind: kind, annotator, none (no answer), ms, and what `Schema.answers` returns."""
    frame = table[schema.select(table)]
    return schema.answers(frame, gold).assign(
        kind=schema.name,
        annotator=frame["annotator"],
        none=frame[schema.answer_column].isin(NO_ANSWER),
        ms=pd.to_numeric(frame["response_ms"]),
    )


def _between_people(first: pd.DataFrame, level: Literal["ordinal", "nominal"]) -> dict[str, float]:
    """Krippendorff's alpha and the share of agreeing pairs; NaN where no item was answered by two people."""
    if not first.duplicated("item").any():
        return {"alpha": np.nan, "agreement": np.nan}
    counts = pd.crosstab(first["item"], first["value"])
    if level == "ordinal":
        counts = counts[sorted(counts.columns, key=lambda rating: int(str(rating)))]
    table = counts.to_numpy()
    pairs = table.sum(1) * (table.sum(1) - 1)
    agreement = (table * (table - 1)).sum() / pairs.sum()
    paired = table[table.sum(1) > 1]
    if (paired.sum(0) > 0).sum() < 2:
        return {"alpha": np.nan, "agreement": agreement}  # everybody gave the same answer: alpha is undefined
    domain = np.array(counts.columns.astype(int) if level == "ordinal" else range(table.shape[1]))
    return {
        "alpha": krippendorff.alpha(value_counts=table, value_domain=domain, level_of_measurement=level),
        "agreement": agreement,
    }


def _with_others(first: pd.DataFrame) -> dict[str, dict[str, float]]:
    """For each annotator, the share of equal answers among all pairs with another annotator's answer to the same item."""
    of_item = first.groupby(["kind", "item"])["value"].transform("size") - 1
    same = first.groupby(["kind", "item", "value"])["value"].transform("size") - 1
    sums = pd.DataFrame({"annotator": first["annotator"], "same": same, "others": of_item}).groupby("annotator").sum()
    shares = (sums["same"] / sums["others"]).dropna()
    return {str(name): {"agreement": share} for name, share in shares.items()}


def _with_oneself(answered: pd.DataFrame, repeated: pd.Series) -> dict[str, dict[str, float]]:
    """For each annotator, the share of repeated answers that equal the first one, and their number."""
    before = answered.groupby(["kind", "item", "annotator"])["value"].transform("first")
    same = (answered["value"] == before)[repeated].groupby(answered["annotator"][repeated])
    return {str(name): {"consistency": group.mean(), "repeats": len(group)} for name, group in same}


def _person(answers: pd.DataFrame, fast_ms: int) -> dict[str, float]:
    """Statistics of one annotator's answers."""
    from scipy.stats import binomtest  # takes a second to import

    answered = answers[~answers["none"]]
    gold, first, ms = answered["correct"].dropna(), answered["first"].dropna(), answers["ms"].dropna()
    return {
        "judgments": len(answers),
        "no_answer": answers["none"].mean(),
        "gold_accuracy": gold.mean(),
        "gold": len(gold),
        "first_side": first.mean(),
        "side_bias_p": binomtest(int(first.sum()), len(first)).pvalue if len(first) else np.nan,
        "median_ms": ms.median(),
        "fast": (ms < fast_ms).mean(),
    }


def as_text(quality: Quality) -> str:
    """Both tables for a terminal; a dash for NaN."""
    return "\n\n".join(
        frame.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        for frame in (quality.questions, quality.annotators)
        if len(frame)
    )


def as_json(quality: Quality) -> dict[str, list[dict[str, object]]]:
    """Both tables as lists of records; null for NaN."""
    return {
        name: [
            {str(key): None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
            for row in frame.to_dict("records")
        ]
        for name, frame in (("questions", quality.questions), ("annotators", quality.annotators))
    }
