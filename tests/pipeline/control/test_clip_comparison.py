"""The kind `clip_comparison`: its rows, its questions and its likelihood."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from feedback_store.schemas import schema_of, schemas
from pipeline.control.clip_comparison import CLIP_COMPARISON, clip_item
from pipeline.errors import UserError
from pipeline.kinds import Columns, ScreenSettings, kinds
from pipeline.kinds.page_items import HashNumbers

SETTINGS = ScreenSettings(("better",), 5)
A, B = "clip-00000000000000aa", "clip-00000000000000bb"


def rows_of(*answers: str, shown_first: str = "a") -> pd.DataFrame:
    common = {"annotator": "ann", "source": "web", "shown_first": shown_first}
    return pd.DataFrame([vars(clip_item(A, B).judgment(answer, **common)) for answer in answers])


def test_rows_are_comparisons_under_the_same_label() -> None:
    row = rows_of("b").iloc[0]
    assert tuple(row[["image_a", "label_a", "image_b", "label_b", "choice"]]) == (A, "better", B, "better", "b")


def test_rows_belong_to_this_kind_alone() -> None:
    frame = pd.concat([rows_of("a"), rows_of("a").assign(image_a="img-1", image_b="img-2")], ignore_index=True)
    expected = {"comparison": [False, False], "image_comparison": [False, True], "clip_comparison": [True, False]}
    assert {name: schemas.get(name).select(frame).tolist() for name in expected} == expected
    assert [schema_of(row).name for row in frame.to_dict("records")] == ["clip_comparison", "image_comparison"]
    assert schema_of(frame.iloc[0].to_dict()).subject(frame.iloc[0].to_dict()) == clip_item(A, B).subject


def test_a_question_is_the_same_whichever_clip_comes_first() -> None:
    assert clip_item(A, B).key == clip_item(B, A).key != clip_item(A, A).key


@pytest.mark.parametrize(("first", "clips", "answers"), [("a", (A, B), ["a", "b"]), ("b", (B, A), ["b", "a"])])
def test_the_left_clip_has_the_left_key(first: str, clips: tuple[str, str], answers: list[str]) -> None:
    screen = CLIP_COMPARISON.screen(clip_item(A, B).subject, first, SETTINGS)
    assert screen.images == clips
    assert [(c.answer, c.action) for c in screen.image_choices] == list(zip(answers, ["first", "second"], strict=True))
    assert [(choice.answer, choice.action) for choice in screen.choices] == [("tie", "tie")]
    shown = [CLIP_COMPARISON.answer_text(answer, screen) for answer in (*answers, "tie", "cant_tell")]
    assert shown == ["Left", "Right", "Equally good", "cant_tell"]


def test_valid_answers() -> None:
    subject = clip_item(A, B).subject
    valid = [
        answer for answer in ("a", "b", "tie", "c", "", "yes") if CLIP_COMPARISON.is_valid(answer, subject, SETTINGS)
    ]
    assert valid == ["a", "b", "tie"]


def test_learning_uses_the_likelihood_of_comparisons() -> None:
    frame = rows_of("a", "b", "tie")
    numbers = {A: 0, B: 1}
    columns = Columns(
        frame, lambda ids: torch.tensor([numbers[one] for one in ids]), lambda _, names: torch.zeros(len(names)).long()
    )
    rows, classes, answer = CLIP_COMPARISON.encode(columns)
    assert (rows.tolist(), classes.tolist(), answer.tolist()) == ([[0, 1]] * 3, [[0, 0]] * 3, [0, 1, 2])
    assert CLIP_COMPARISON.likelihood is kinds.get("comparison").likelihood


def test_drawn_pairs_are_distinct_and_use_all_clips() -> None:
    pool = torch.tensor([3, 5, 8, 13])
    drawn = CLIP_COMPARISON.draw(pool, 40, torch.zeros(20, 1), torch.Generator().manual_seed(0))
    assert (drawn.rows[:, 0] != drawn.rows[:, 1]).all()
    assert drawn.rows[:, 0].bincount(minlength=14)[pool].tolist() == [10] * 4
    assert set(drawn.rows[:, 1].tolist()) == {3, 5, 8, 13}
    assert drawn.labels.tolist() == [[0]] * 40
    with pytest.raises(UserError, match="at least two clips"):
        CLIP_COMPARISON.draw(pool[:1], 1, torch.zeros(20, 1), torch.Generator())


def test_the_script_loads_files_that_are_served() -> None:
    assert CLIP_COMPARISON.script is not None
    loaded = re.findall(r'from "\./clip_comparison/([^"]+)"', CLIP_COMPARISON.script)
    assert loaded == ["clip_player.js"]
    assert {*loaded, "clips.css"} <= set(CLIP_COMPARISON.page_files)


def test_numbers_of_hashed_ids() -> None:
    numbers = HashNumbers([A, B])
    assert (numbers.number(A), numbers.item(0xAA), numbers.item(0xBB), numbers.item(0xCC)) == (0xAA, A, B, None)
