"""The report's figures against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison, label_choice
from pipeline.data.gold_labels import GoldLabels
from pipeline.data.image_table import ImageTable
from pipeline.data.sources.folder import FolderSource
from pipeline.learning.statistics import is_uniform, paired_difference, reliability
from stages.report.charts import drop_uniform_accuracy, shown_classes
from stages.report.judgment_summary import summarise_judgments
from stages.report.multi_run import differing
from stages.report.predictions import GAINED, LOST, MAX_SHOWN, OTHER, UNKNOWN, compare_predictions, most_confused


def table(count: int) -> ImageTable:
    ids = np.array([f"img-{n:03d}" for n in range(count)], dtype=object)
    paths = np.array([f"test/{n}.png" for n in range(count)], dtype=object)
    return ImageTable(FolderSource(Path("nowhere")), ids, paths, np.array(["test"] * count, dtype=object), ())


def says(*rows: tuple[int, float], classes: int = 3) -> Tensor:
    """Log-probabilities [N, C] of rows that give a class a probability, and the others equal shares of the rest."""
    p = torch.tensor(
        [[sure if c == best else (1 - sure) / (classes - 1) for c in range(classes)] for best, sure in rows]
    )
    return p.log()


def test_paired_difference_by_hand() -> None:
    """Of 40 images 8 are gained and 2 lost: Bonett and Price's 9/42 and 3/42; McNemar 2 (1 + 10 + 45) / 1024."""
    first = np.array([True] * 2 + [False] * 8 + [True] * 20 + [False] * 10)
    second = np.array([False] * 2 + [True] * 8 + [True] * 20 + [False] * 10)
    found = paired_difference(first, second)
    assert (found.gained, found.lost) == (8, 2)
    assert found.difference == pytest.approx(6 / 40)
    half = 1.959964 * ((9 / 42 + 3 / 42 - (6 / 42) ** 2) / 42) ** 0.5
    assert (found.low, found.high) == (pytest.approx(6 / 42 - half, abs=1e-6), pytest.approx(6 / 42 + half, abs=1e-6))
    assert found.p == pytest.approx(2 * 56 / 1024)


def test_paired_difference_of_the_same_predictions_still_has_an_interval() -> None:
    same = np.array([True, False, True])
    found = paired_difference(same, same)
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_reliability_by_hand() -> None:
    """Two bins of ten: 0.62 and 0.68 sure, one right; 0.95 sure and wrong; 1.0 lies in the last bin."""
    found = reliability(np.array([0.62, 0.68, 0.95, 1.0]), np.array([True, False, False, True]), 10)
    assert [b["count"] for b in found["bins"]] == [2, 2]
    assert found["bins"][0] == {"confidence": pytest.approx(0.65), "accuracy": 0.5, "count": 2}
    assert found["ece"] == pytest.approx((abs(1 - 1.30) + abs(1 - 1.95)) / 4)


def test_predictions_by_hand() -> None:
    """Six images, one of unknown class: what is right, the matrices, and the changes in their order."""
    gold = GoldLabels(("a", "b", "c"), np.array([0, 0, 1, 1, 2, -1]))
    before = says((0, 0.9), (1, 0.8), (1, 0.7), (2, 0.6), (2, 0.5), (0, 0.5))
    after = says((1, 0.6), (0, 0.7), (0, 0.9), (0, 0.8), (2, 0.9), (1, 0.7))
    found = compare_predictions(table(6), gold, before, after, rows=np.arange(6))
    assert (found["images"], found["known"]) == (6, 5)
    assert (found["before"]["right"], found["after"]["right"]) == (3, 2)
    assert (found["paired"]["gained"], found["paired"]["lost"]) == (1, 2)
    assert found["confusion"]["before"] == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found["confusion"]["after"] == [[1, 1, 0], [2, 0, 0], [0, 0, 1]]
    assert [
        (row["name"], row["images"], row["before"]["right"], row["after"]["right"]) for row in found["classes"]
    ] == [
        ("a", 2, 1, 1),
        ("b", 2, 1, 0),
        ("c", 1, 1, 1),
    ]
    changed = found["changed"]
    assert [(one["image"], one["kind"]) for one in changed["images"]] == [
        ("img-002", LOST),
        ("img-000", LOST),
        ("img-001", GAINED),
        ("img-003", OTHER),
        ("img-005", UNKNOWN),
    ]
    assert changed["counts"] == {LOST: 2, GAINED: 1, OTHER: 1, UNKNOWN: 1}
    assert [one["true"] for one in changed["images"]] == ["b", "a", "a", "b", None]
    first = changed["images"][0]
    assert (first["before"], first["after"]) == ("b", "a")
    assert (first["before_probability"], first["after_probability"]) == (pytest.approx(0.7), pytest.approx(0.9))
    assert most_confused(found["confusion"], gold.classes)[0] == {
        "true": "b",
        "predicted": "a",
        "before": 0,
        "after": 2,
    }


def test_more_changes_than_fit_are_counted() -> None:
    count = MAX_SHOWN + 7
    gold = GoldLabels(("a", "b"), np.zeros(count, dtype=np.int64))
    before, after = says(*[(0, 0.9)] * count, classes=2), says(*[(1, 0.9)] * count, classes=2)
    changed = compare_predictions(table(count), gold, before, after, rows=np.arange(count))["changed"]
    assert (len(changed["images"]), changed["rest"], changed["all"]) == (MAX_SHOWN, 7, count)


def test_without_gold_changes_are_neither_right_nor_wrong() -> None:
    gold = GoldLabels(("a", "b", "c"), np.full(3, -1))
    found = compare_predictions(
        table(3), gold, says((0, 0.9), (1, 0.8), (2, 0.7)), says((0, 0.9), (2, 0.8), (2, 0.9)), rows=np.arange(3)
    )
    assert (found["known"], found["before"], found["after"], found["paired"]) == (0, None, None, None)
    assert (found["classes"], found["confusion"]) == ([], {})
    assert [(one["image"], one["kind"], one["true"]) for one in found["changed"]["images"]] == [
        ("img-001", UNKNOWN, None)
    ]


def test_a_reference_without_an_opinion_is_held_against_nothing() -> None:
    """Equal probabilities have no likeliest class: no accuracy, no matrix, no change; the policy's predictions instead."""
    gold = GoldLabels(("a", "b"), np.array([0, 0, 1, 1, 1, -1]))
    even, after = (
        torch.full((6, 2), 0.5).log(),
        says((0, 0.9), (1, 0.8), (1, 0.7), (1, 0.6), (1, 0.99), (0, 0.55), classes=2),
    )
    found = compare_predictions(table(6), gold, even, after, rows=np.arange(6))
    assert found["uniform_reference"]
    assert (found["before"], found["paired"], found["changed"]) == (None, None, None)
    assert (found["chance"], found["commonest"]) == (0.5, 0.6)
    assert (found["after"]["right"], found["after"]["images"]) == (4, 5)
    assert found["confusion"] == {"after": [[1, 1], [0, 3]]}
    assert [(one["image"], one["kind"]) for one in found["first_predictions"]["images"]] == [
        ("img-001", "wrong"),
        ("img-005", UNKNOWN),
        ("img-003", "right"),
        ("img-002", "right"),
        ("img-000", "right"),
        ("img-004", "right"),
    ]
    alone = compare_predictions(table(6), gold, even, None, rows=np.arange(6))
    assert (alone["classes"], alone["confusion"], alone["first_predictions"]) == ([], {}, None)


def test_uniform_on_nearly_every_image_is_uniform() -> None:
    even, sure = torch.full((1, 2), 0.5).log(), says((0, 0.9), classes=2)
    assert is_uniform(torch.cat([even] * 96 + [sure] * 4))
    assert not is_uniform(torch.cat([even] * 94 + [sure] * 6))
    assert not is_uniform(says((0, 0.501), classes=2))


def test_a_reference_without_an_opinion_has_no_accuracy_in_the_curve_either() -> None:
    rows = [{"iteration": float(n), "gold_heldout": 0.5, "accuracy_heldout": 0.4} for n in (0, 1)]
    assert drop_uniform_accuracy(rows) == [{"iteration": 0.0, "gold_heldout": 0.5}, rows[1]]


def test_of_many_classes_those_that_changed_most_are_shown() -> None:
    def row(n: int, after: float) -> dict[str, Any]:
        return {"name": str(n), "before": {"accuracy": 0.5}, "after": {"accuracy": after}}

    classes = [row(n, 0.5 + (0.01 if n % 2 else 0.3)) for n in range(40)]
    assert [one["name"] for one in shown_classes(classes)] == [str(n) for n in range(0, 40, 2)]


def test_judgments_by_hand(tmp_path: Path) -> None:
    """Three comparisons, one taken back; two people agree on one image's class and differ on another's."""
    store = CsvFeedbackStore(tmp_path)

    def pair(number: int, choice: str, first: str = "a", **more: str) -> Comparison:
        return Comparison(
            id=f"c{number}",
            annotator="ann",
            source="web",
            image_a="i",
            label_a="x",
            image_b="i",
            label_b=f"y{number}",
            choice=choice,
            shown_first=first,
            response_ms=1000 * number,
            **more,
        )

    store.append([pair(1, "a"), pair(2, "b"), pair(3, "cant_tell"), pair(4, "a", retracts="c2")])
    answers = (("i", "ann", "x"), ("i", "bob", "x"), ("j", "ann", "x"), ("j", "bob", "z"))
    store.append([label_choice(image, answer, annotator=who, source="tk") for image, who, answer in answers])
    found = summarise_judgments(store, {}, 3)
    assert found is not None
    assert (found["judgments"], found["taken_back"]) == (6, 1)
    assert found["sources"] == {"people, in the window": 4, "people, on the page": 2}
    comparisons, labels = found["kinds"]
    assert comparisons["answers"] == {"the side shown first": 1, "cant_tell": 1}
    assert (comparisons["median_seconds"], comparisons["no_answer"]) == (2.0, 0.5)
    assert (labels["judgments"], labels["annotators"], labels["agreement"]) == (4, 2, 0.5)
    assert labels["median_seconds"] is None
    by_name = {row["name"]: row for row in found["classes"]}
    assert by_name["x"] == {"name": "x", "compared": 2, "preferred": 1, "chosen": 3}
    assert summarise_judgments(CsvFeedbackStore(tmp_path / "empty"), {}, 3) is None


def test_only_settings_that_differ_are_listed() -> None:
    found = [
        {"config": "name: a\nseed: 0\nppo: {lr: 0.1, beta: 0.3}\n"},
        {"config": "name: b\nseed: 0\nppo: {lr: 0.2, beta: 0.3}\n"},
    ]
    assert differing(found) == [{"key": "ppo.lr", "cells": ["0.1", "0.2"]}]
