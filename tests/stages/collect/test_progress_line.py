"""What `make collect` says at its start: numbers of questions and judgments, and why there are fewer than asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.answering import give
from support.collect_server import Place

from stages.collect.web.server import _progress_line

ANN: Any = SimpleNamespace(annotators=[SimpleNamespace(name="ann")])


def line(where: Place, wanted: int | None) -> str:
    where.settings = where.settings.model_copy(update={"count": wanted})
    return _progress_line(where.again(), ANN)


def test_pages_count_by_their_images(place: Callable[..., Place]) -> None:
    """Two pages of six are twelve judgments, which is what `collect.count` counts."""
    where = place("grid", count=2, grid_tiles=6)
    assert line(where, 12) == "0 of 2 questions (12 judgments) are answered."
    assert line(where, 7) == "0 of 2 questions (12 judgments) are answered.", "whole pages"
    assert line(where, 48) == (
        "0 of 2 questions (12 judgments, the maximum for these images; collect.count is 48) are answered."
    )
    desk = where.again()
    for number, task in enumerate(desk.take("ann", 2)):
        give(desk, "ann", task, f":{task.item.subject.labels[0]}", f"answer-{number}")
    assert line(where, None) == (
        "All 2 questions (12 judgments) are answered; for more raise collect.count, or add images."
    )


@pytest.mark.parametrize("kind", ["label", "comparison"])
def test_other_questions_are_judgments(place: Callable[..., Place], kind: str) -> None:
    where = place(kind, count=4)
    assert line(where, 4) == "0 of 4 questions are answered."
    assert line(where, 9) == "0 of 4 questions (the maximum for these images; collect.count is 9) are answered."
    where.settings = where.settings.model_copy(update={"judgments_per_item": 2})
    where.plan = replace(where.plan)
    assert line(where, 8) == "0 of 8 questions are answered."
