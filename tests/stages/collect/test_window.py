"""The Tk window on a virtual display, driven by real key events: what is pressed is what the CSV holds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.display import needs_display
from support.judging_window import Driven

from feedback_store.schemas import Subject
from pipeline.config.collect import CollectConfig
from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import ScreenSettings, kinds
from stages.collect.actions import key_help
from stages.collect.tk.key_presses import Keyboard

PRESSED = {
    "comparison": [
        ("1", "first"),
        ("Right", "second"),
        ("t", "tie"),
        ("Left", "first"),
        ("c", "cant_tell"),
        ("2", "second"),
    ],
    "image_comparison": [("1", "first"), ("Right", "second"), ("t", "tie"), ("b", "bad_image")],
    "label": [("0", "ant"), ("1", "bee"), ("2", "wasp"), ("c", "cant_tell")],
    "verdict": [("y", "yes"), ("n", "no"), ("n", "no")],
    "rating": [("1", "1"), ("3", "3"), ("5", "5")],
}


@needs_display
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind != "label")) for kind in PRESSED])
def test_every_question_by_real_keys(kind: str, display: str, place: Any) -> None:
    """Twenty answers, three of them taken back and given again; the rows are what was pressed."""
    driven = Driven(display, place(kind, count=20))
    driven.picture(kind)
    presses = [PRESSED[kind][number % len(PRESSED[kind])] for number in range(20)]
    for number, (key, _) in enumerate(presses[:12], start=1):
        driven.press(key)
        driven.wait_rows(number)
    for number in range(13, 16):
        driven.press("u")
        driven.wait_rows(number)
    again = [presses[11], presses[10], presses[9], *presses[12:]]
    for number, (key, _) in enumerate(again, start=16):
        driven.press(key)
        driven.wait_rows(number)
    driven.picture(f"{kind}-finished")
    driven.close()
    comparisons = kind.endswith("comparison")
    rows = driven.store.comparisons() if comparisons else driven.store.per_image_judgments()
    wanted = [meaning for _, meaning in [*presses[:9], *again]]
    answers = []
    for row in rows.to_dict("records"):
        given = str(row["choice" if comparisons else "answer"])
        answers.append({True: "first", False: "second"}[given == row["shown_first"]] if given in ("a", "b") else given)
    assert answers == wanted
    assert set(rows["source"]) == {"tk"}
    assert len(driven.store.all_rows("pairwise")) + len(driven.store.all_rows("per_image")) == 26
    assert len(rows.drop_duplicates([c for c in rows.columns if c.startswith(("image", "label"))])) == 20


@needs_display
def test_skip_zoom_help_and_closing_keep_everything(display: str, place: Any) -> None:
    where = place("verdict", count=4)
    driven = Driven(display, where)
    driven.press("s", "y")
    first = driven.wait_rows(1)
    driven.press("z")
    time.sleep(0.5)
    driven.press("n")  # closes the large picture, and answers nothing
    driven._xdotool("windowfocus", "--sync", driven.window)
    driven.press("question")
    time.sleep(0.5)
    driven.press("Escape")
    driven._xdotool("windowfocus", "--sync", driven.window)
    driven.press("n")
    assert list(driven.wait_rows(2)["answer"]) == ["yes", "no"]
    driven.close()
    again = Driven(display, where)
    again.press("y", "y")
    rows = again.wait_rows(4)
    again.close()
    assert list(rows["answer"]) == ["yes", "no", "yes", "yes"]
    assert rows["image"].nunique() == 4
    assert first["image"].iloc[0] == rows["image"].iloc[0]


def test_keys_of_many_classes() -> None:
    board = Keyboard(KeysConfig())
    choices = kinds.get("label").choices(ScreenSettings(tuple(f"kind {n}" for n in range(37)), 5))
    assert choices is not None
    assert board.read("1", "1", choices) == (None, None)
    assert board.digits == "1"
    assert board.read("2", "2", choices) == (None, "kind 12")
    assert board.read("4", "4", choices) == (None, "kind 4"), "no other number starts with it"
    assert board.read("3", "3", choices) == (None, None)
    assert board.read("Return", "\r", choices) == (None, "kind 3")
    assert board.read("3", "3", choices) == (None, None)
    assert board.read("s", "s", choices) == ("skip", None)
    assert board.digits == "", "another key ends the number"


def test_keys_in_either_case_and_by_other_names() -> None:
    board, settings = Keyboard(KeysConfig()), ScreenSettings(("ant", "bee"), 5)
    subject = Subject(("img-1",), ("ant", "bee"))
    choices = kinds.get("comparison").screen(subject, "b", settings).choices
    assert board.read("T", "T", choices) == (None, "tie")
    assert board.read("Left", "", choices) == (None, "b"), "the side shown on the left"
    assert board.read("question", "?", choices) == ("help", None)
    assert board.read("F5", "", choices) == (None, None)
    shown = key_help(CollectConfig(), settings)
    assert any(line.meaning == "left is better" for line in shown)
