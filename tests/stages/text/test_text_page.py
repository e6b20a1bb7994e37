"""Texts on the judging page: a real browser, driven by keys alone; texts are shown as text, never as markup."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.browser import CHROMIUM, shot, until
from support.collect_process import CollectProcess
from support.judging_page import wait_stored
from support.text_runs import sentences

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.text.table import read_table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"),
]
MARKUP = '<img src=x onerror="window.hacked = true"> & <b>bold</b>'
LONG = "A long answer, which explains a lot.\n\n" + "It goes on and on, sentence after sentence. " * 80
TEXTS = (MARKUP, LONG, "'quoted' texts, \"too\"", *sentences(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import csv

    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in TEXTS)])
    lines = (
        "name: asked",
        "items: {texts: texts.csv}",
        "collect: {count: 3, repeat_fraction: 0, annotators: [ann], server: {port: 0, open_browser: false}}",
    )
    (tmp_path / "asked.yaml").write_text("\n".join(lines) + "\n")
    return tmp_path


ASKED = """() => ({
    texts: [...document.querySelectorAll('#stage .text')].map((one) => one.textContent),
    answers: [...document.querySelectorAll('#stage button')].map((one) => one.dataset.answer),
})"""
CHANGED = "(before) => document.querySelector('#stage .text')?.textContent !== before || !document.getElementById('finished').hidden"


def test_pairs_of_texts_by_keyboard(page: Any, folder: Path) -> None:
    """Every text is shown as it is; the keys' answers are about the texts that were on the screen."""
    served = CollectProcess(folder)
    expected, shown = [], set()
    try:
        page.goto(served.links["ann"])
        page.wait_for_selector("#stage .text")
        assert page.title() == "Judge texts"
        for number, key in enumerate(("ArrowLeft", "2", "t")):
            asked = page.evaluate(ASKED)
            shown |= set(asked["texts"])
            shot(page, f"texts-{number}")
            if LONG in asked["texts"]:
                page.keyboard.press("ArrowDown")
                until(page, "() => [...document.querySelectorAll('.text')].some((one) => one.scrollTop > 0)")
            side = {"ArrowLeft": 0, "2": 1}.get(key)
            expected.append((tuple(asked["texts"]), None if side is None else asked["texts"][side]))
            page.keyboard.press(key)
            until(page, CHANGED, asked["texts"][0])
        wait_stored(page)
        assert page.locator("#finished").is_visible()
        shot(page, "texts-finished")
    finally:
        served.stop()
    assert shown == set(TEXTS)
    assert page.evaluate("() => window.hacked") is None
    run = folder / "runs" / "asked"
    table, rows = read_table(run), CsvFeedbackStore(run / "feedback").comparisons()
    assert len(rows) == 3
    stored = []
    for row in rows.to_dict("records"):
        pair = {side: table.text(row[f"image_{side}"]) for side in "ab"}
        first = row["shown_first"]
        stored.append(((pair[first], pair["b" if first == "a" else "a"]), pair.get(row["choice"])))
        assert (row["label_a"], row["label_b"], row["source"]) == ("better", "better", "web")
    assert stored == expected


def test_a_reload_keeps_the_place(page: Any, folder: Path) -> None:
    served = CollectProcess(folder)
    try:
        page.goto(served.links["ann"])
        page.wait_for_selector("#stage .text")
        first = page.evaluate(ASKED)["texts"]
        page.keyboard.press("ArrowRight")
        until(page, CHANGED, first[0])
        wait_stored(page)
        second = page.evaluate(ASKED)["texts"]
        page.reload()
        page.wait_for_selector("#stage .text")
        assert page.evaluate(ASKED)["texts"] == second != first
    finally:
        assert "Traceback" not in served.stop(), sys.stderr
