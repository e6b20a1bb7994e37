"""The time model of stored rows: what is expected without any, by hand, and with planted seconds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feedback_store.records import Judgment, label_choice, rating, verdict
from feedback_store.tables import as_row
from pipeline.kinds import JudgmentKind, kinds
from pipeline.learning.response_times import ANSWER_SD, KIND_SD, LONGEST, PERSON_SD, TimeModel, fit


def table(*judgments: Judgment) -> pd.DataFrame:
    return pd.DataFrame([as_row(one) for one in judgments])


def named(annotator: str, *milliseconds: int | None) -> list[Judgment]:
    return [label_choice("img", "ant", annotator=annotator, source="web", response_ms=ms) for ms in milliseconds]


def judged(annotator: str, *milliseconds: int | None) -> list[Judgment]:
    return [verdict("img", "ant", "yes", annotator=annotator, source="web", response_ms=ms) for ms in milliseconds]


@pytest.mark.parametrize(("kind", "seconds"), [("label", 4.17), ("verdict", 1.7), ("comparison", 3.6), ("rating", 2.7)])
def test_without_answers_a_kind_takes_its_usual_seconds(kind: str, seconds: float) -> None:
    model = fit([], classes=10)
    assert model == TimeModel(10)
    assert model.median_seconds(kind) == pytest.approx(seconds, abs=0.01)
    assert model.seconds(kind) == pytest.approx(seconds * math.exp((0.3**2 + 0.35**2) / 2), rel=0.01)


def test_naming_grows_with_the_classes() -> None:
    """CIFAR-10N: median 4.2 s, mean 4.7 s; CIFAR-100N: median 17.6 s."""
    assert TimeModel(10).seconds("label") == pytest.approx(4.7, abs=0.1)
    assert TimeModel(100).median_seconds("label") == pytest.approx(17.6, abs=0.5)
    assert TimeModel(100).median_seconds("verdict") == TimeModel(2).median_seconds("verdict")


def test_kinds_of_other_packages_have_usual_seconds() -> None:
    assert JudgmentKind.usual_seconds(kinds.get("verdict"), 10, images=12, marks=3) == 3.6


def test_rows_without_times_are_ignored() -> None:
    assert fit([table(*named("ann", None, None))], 10) == TimeModel(10)
    timed = fit([table(*named("ann", 5000, 7000))], 10)
    assert fit([table(*named("ann", 5000, None, 7000), *judged("bob", None))], 10) == timed
    assert timed.answers == {"label": 2}


def test_few_answers_move_the_model_a_little_and_many_a_lot() -> None:
    """Each answer takes twice the usual 1.7 s: log factor log 2, shared between the kind and the person."""
    few, many = (fit([table(*judged("ann", *[3400] * count))], 10) for count in (1, 400))
    assert 1.7 * 1.2 < few.median_seconds("verdict", "ann") < 1.7 * 1.8
    assert many.median_seconds("verdict", "ann") == pytest.approx(3.4, rel=0.01)
    total = many.kind_offsets["verdict"] + many.person_offsets["ann"]
    # The variances that the offsets are shrunk by: the kind's is a constant, the person's was estimated.
    share = KIND_SD**2 / (KIND_SD**2 + many.person_sd**2)
    assert many.kind_offsets["verdict"] == pytest.approx(total * share, rel=0.01)
    assert many.person_sd != PERSON_SD
    assert many.answer_sd < ANSWER_SD / 2 < few.answer_sd, "400 equal answers"


def test_planted_seconds_are_found_and_the_order_of_rows_does_not_matter() -> None:
    random = np.random.default_rng(0)
    rows = []
    for person, slower in (("ann", 0.8), ("bob", 1.0), ("cem", 1.25)):
        for make, median in ((named, 6.0), (judged, 1.2)):
            seconds = median * slower * np.exp(0.5 * random.normal(size=1500))
            rows += make(person, *(1000 * seconds).astype(int).tolist())
    model = fit([table(*rows)], 10)
    assert model.answer_sd == pytest.approx(0.5, abs=0.02)
    for person, slower in (("ann", 0.8), ("bob", 1.0), ("cem", 1.25)):
        assert model.median_seconds("label", person) == pytest.approx(6 * slower, rel=0.05)
        assert model.seconds("verdict", person) == pytest.approx(1.2 * slower * math.exp(0.5**2 / 2), rel=0.05)
    assert model.median_seconds("label") == pytest.approx(6.0, rel=0.1), "an average person"
    shuffled = table(*rows).sample(frac=1, random_state=1)
    assert fit([shuffled], 10).person_offsets == pytest.approx(model.person_offsets)
    assert fit([table(*rows)], 10) == model, "deterministic"


def test_somebody_unknown_may_be_slow_or_fast() -> None:
    model = TimeModel(10, person_offsets={"ann": 0.0}, answer_sd=0.4, person_sd=0.6)
    assert model.median_seconds("verdict", "ann") == model.median_seconds("verdict", "zoe") == 1.7
    assert model.seconds("verdict", "ann") == pytest.approx(1.7 * math.exp(0.08))
    assert model.seconds("verdict", "zoe") == model.seconds("verdict") == pytest.approx(1.7 * math.exp(0.26))


def test_a_total_is_measured_where_it_can_be() -> None:
    """1.5 s and 2.5 s were measured; one more of ann, and one of somebody else, are expected."""
    model = TimeModel(10, {"verdict": math.log(2)}, {"ann": math.log(0.5)}, answer_sd=0.4, person_sd=0.3)
    rows = table(*judged("ann", 1500, 2500, None), *judged("zoe", None))
    expected = 1.5 + 2.5 + 1.7 * math.exp(0.08) + 3.4 * math.exp((0.16 + 0.09) / 2)
    assert model.total([rows]) == pytest.approx(expected)
    assert model.total([]) == 0.0


def test_a_break_is_not_spent_on_the_question() -> None:
    model = TimeModel(10, answer_sd=0.5)
    assert model.total([table(*judged("ann", 3_600_000))]) == pytest.approx(1.7 * math.exp(LONGEST * 0.5))
    rows = table(*judged("ann", *[1600, 1800] * 50, 3_600_000))
    found = fit([rows], 10)
    assert found.median_seconds("verdict", "ann") == pytest.approx(1.7, rel=0.02)
    assert found.interrupted == 1
    assert found.total([rows]) < 100 * 1.8 + 20


def test_answers_of_zero_milliseconds_are_no_error() -> None:
    model = fit([table(*judged("ann", 0, 1700, 1700, 1700))], 10)
    assert 1.0 < model.median_seconds("verdict", "ann") <= 1.7


def test_the_summary_is_the_fit() -> None:
    ratings = [rating("img", "ant", 3, annotator="bob", source="web", response_ms=ms) for ms in (2000, 3000, 4000)]
    summary = fit([table(*judged("ann", 1700, 1700), *ratings)], 10).summary()
    assert (summary["answers"], summary["persons"], summary["interrupted"]) == (5, 2, 0)
    assert list(summary["kinds"]) == ["verdict", "rating"]
    assert summary["kinds"]["rating"]["answers"] == 3
    assert summary["kinds"]["rating"]["median_seconds"] == pytest.approx(
        2.7 * summary["kinds"]["rating"]["usual_factor"]
    )
    assert summary["kinds"]["rating"]["mean_seconds"] > summary["kinds"]["rating"]["median_seconds"]
    assert TimeModel(10).summary()["kinds"] == {}


def test_a_kind_may_store_several_rows_for_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of three images is one question: timed once, counted once."""

    def pages(self: JudgmentKind, rows: pd.DataFrame, classes: int) -> pd.DataFrame:
        shown = JudgmentKind.questions_shown(self, rows, classes)
        return shown.groupby(rows["created_at"]).first().assign(usual=self.usual_seconds(classes, images=3))

    monkeypatch.setattr(type(kinds.get("verdict")), "questions_shown", pages)
    rows = table(*judged("ann", *[6000] * 3), *judged("ann", *[8000] * 3), *judged("ann", *[None] * 3))
    rows["created_at"] = [f"2026-11-21T10:00:0{page}Z" for page in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
    model = fit([rows], 10)
    assert model.answers == {"verdict": 2}
    assert model.total([rows]) == pytest.approx(6 + 8 + model.seconds("verdict", "ann", images=3))


def test_annotators_of_cifar10n(shared: Path) -> None:
    """15,000 timed batches of ten images: median 4.2 s, mean 4.7 s per image."""
    seconds = pd.read_csv(shared / "data/cifar10n/work_seconds.csv")["seconds"] / 10
    rows = pd.DataFrame(
        {"question": "label", "annotator": "all", "response_ms": (1000 * seconds).round().astype(int).astype(str)}
    )
    model = fit([rows], 10)
    assert model.median_seconds("label", "all") == pytest.approx(4.2, abs=0.1)
    assert model.seconds("label", "all") == pytest.approx(4.7, abs=0.1)
    assert model.answer_sd == pytest.approx(math.hypot(PERSON_SD, ANSWER_SD), abs=0.02), "the prior: both together"
    assert model.total([rows]) == pytest.approx(seconds.sum())
