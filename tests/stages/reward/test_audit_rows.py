"""What is stored about audited images never becomes a judgment to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison, label_choice, verdict
from stages.reward.judgment_set import read_judgments

POSITION = {"img-0": 0, "img-1": 1, "img-2": 2, "img-3": 3}
CLASSES = ("ant", "bee", "cat")
WHO: dict[str, Any] = {"annotator": "y", "source": "web"}


def pair(image: str, other: str, choice: str) -> Comparison:
    return Comparison(image_a=image, label_a="bee", image_b=other, label_b="bee", choice=choice, **WHO)


def test_nothing_about_an_audited_image_is_trained_on(tmp_path: Path) -> None:
    """Neither the audit answer, nor an earlier or later answer about its image, nor a pair in which it is one side."""
    store = CsvFeedbackStore(tmp_path)
    store.append(
        [
            label_choice("img-0", "ant", **WHO),
            label_choice("img-0", "bee", annotator="y", source="web:audit"),
            label_choice("img-0", "cat", **WHO),
            label_choice("img-1", "bee", **WHO),
            verdict("img-0", "bee", "yes", **WHO),
            pair("img-0", "img-0", "a"),
            pair("img-2", "img-0", "a"),
            pair("img-2", "img-3", "b"),
        ]
    )
    found = read_judgments(store, POSITION, CLASSES, "joint")
    assert found.rows.tolist() == [[2, 3], [1, 1]]
    assert found.unknown == 0
