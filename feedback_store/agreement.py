"""How far the judgments can be trusted: agreement between people, with themselves, with known answers; side bias; speed.

An item is what was asked, whichever side was shown first. `cant_tell` and `bad_image` are no answers and count nowhere
but in `no_answer`. Where somebody answered an item more than once, the first answer speaks for them to others, and
the later ones measure how consistent they are.
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

FAST_MS = 300  # nobody looks at a picture, decides and presses a key in less


@dataclass(frozen=True, eq=False)
class Quality:
    """Figures of all judgments that stand.

    Attributes:
        questions: one row a kind of question: judgments, items, annotators, no_answer (share), alpha (Krippendorff's;
            ordinal for ratings, nominal otherwise), agreement (share of pairs of different people's answers to the
            same item that are the same). NaN where nothing was asked of two people.
        annotators: one row a person: judgments, no_answer, agreement (with others), consistency (share of repeated
            answers that are the same as the first) and repeats, gold_accuracy and gold (answers to items whose answer is
            known), first_side (share of comparisons in which the side shown first was chosen), side_bias_p (two-sided
            binomial test of that being 1/2), median_ms, fast (share of answers faster than the threshold).
    """

    questions: pd.DataFrame
    annotators: pd.DataFrame


def quality(
    pairs: pd.DataFrame, per_image: pd.DataFrame, gold: Mapping[str, str] | None = None, fast_ms: int = FAST_MS
) -> Quality:
    """Figures for comparisons and per-image judgments as `FeedbackStore` reads them.

    Args:
        gold: true class of each image whose class is known.
    """
    frames = {"pairwise": pairs, "per_image": per_image}
    answers = pd.concat([_answers(schema, frames[schema.table], gold or {}) for schema in schemas])
    given = answers[~answers["none"]]
    repeated = given.duplicated(["kind", "item", "annotator"])
    first = given[~repeated]
    kinds = [
        {
            "question": kind,
            "judgments": len(every),
            "items": every["item"].nunique(),
            "annotators": every["annotator"].nunique(),
            "no_answer": every["none"].mean(),
            **_between_people(first[first["kind"] == kind], schemas.get(str(kind)).scale),
        }
        for kind, every in answers.groupby("kind", sort=False)
    ]
    agreement, consistency = _with_others(first), _with_oneself(given, repeated)
    people = [
        {"annotator": name, **_person(every, fast_ms), **consistency.get(name, {}), **agreement.get(name, {})}
        for name, every in ((str(name), every) for name, every in answers.groupby("annotator"))
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
        return {"alpha": np.nan, "agreement": agreement}  # one answer only was ever given: chance cannot be told
    domain = np.array(counts.columns.astype(int) if level == "ordinal" else range(table.shape[1]))
    return {
        "alpha": krippendorff.alpha(value_counts=table, value_domain=domain, level_of_measurement=level),
        "agreement": agreement,
    }


def _with_others(first: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Each person's share of same answers among all pairs with another person's answer to the same item."""
    of_item = first.groupby(["kind", "item"])["value"].transform("size") - 1
    same = first.groupby(["kind", "item", "value"])["value"].transform("size") - 1
    sums = pd.DataFrame({"annotator": first["annotator"], "same": same, "others": of_item}).groupby("annotator").sum()
    shares = (sums["same"] / sums["others"]).dropna()
    return {str(name): {"agreement": share} for name, share in shares.items()}


def _with_oneself(given: pd.DataFrame, repeated: pd.Series) -> dict[str, dict[str, float]]:
    before = given.groupby(["kind", "item", "annotator"])["value"].transform("first")
    same = (given["value"] == before)[repeated].groupby(given["annotator"][repeated])
    return {str(name): {"consistency": group.mean(), "repeats": len(group)} for name, group in same}


def _person(every: pd.DataFrame, fast_ms: int) -> dict[str, float]:
    from scipy.stats import binomtest  # a second to import: only where it is needed

    given = every[~every["none"]]
    gold, first, ms = given["correct"].dropna(), given["first"].dropna(), every["ms"].dropna()
    return {
        "judgments": len(every),
        "no_answer": every["none"].mean(),
        "gold_accuracy": gold.mean(),
        "gold": len(gold),
        "first_side": first.mean(),
        "side_bias_p": binomtest(int(first.sum()), len(first)).pvalue if len(first) else np.nan,
        "median_ms": ms.median(),
        "fast": (ms < fast_ms).mean(),
    }


def as_text(quality: Quality) -> str:
    """Both tables for a terminal; a dash where there is no figure."""
    return "\n\n".join(
        frame.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        for frame in (quality.questions, quality.annotators)
        if len(frame)
    )


def as_json(quality: Quality) -> dict[str, list[dict[str, object]]]:
    """Both tables as lists of records; null where there is no figure."""
    return {
        name: [
            {str(key): None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
            for row in frame.to_dict("records")
        ]
        for name, frame in (("questions", quality.questions), ("annotators", quality.annotators))
    }
