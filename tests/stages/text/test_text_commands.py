"""Import, export, statistics and ranking of texts on the command line, and what is refused there."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.text_runs import configuration, write_csv

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.text.table import FILE, read_table, text_id

Call = Callable[..., tuple[int, str]]
LESSON = [("Title1", "Title2", "Label"), ("x", "y, z", "Title1"), ("v", "w", "Title2"), ("=x", "w\nu", "tie")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "texts"


def stored(run: Path) -> list[tuple[str, str, str]]:
    """The stored comparisons as (text a, text b, choice)."""
    table = read_table(run)
    rows = CsvFeedbackStore(run / "feedback").comparisons().to_dict("records")
    return [(table.text(row["image_a"]), table.text(row["image_b"]), row["choice"]) for row in rows]


EXPECTED = [("x", "y, z", "a"), ("v", "w", "b"), ("=x", "w\nu", "tie")]


@pytest.mark.parametrize("columns", [(), ("--columns", "text_a=Title1,text_b=Title2,choice=Label")])
def test_the_lessons_csv_is_imported_once(call: Call, tmp_path: Path, run: Path, columns: tuple[str, ...]) -> None:
    file, path = write_csv(tmp_path / "feedback.csv", LESSON), configuration(tmp_path)
    code, text = call("feedback", "import", file, *columns, "--config", path)
    assert (code, text.partition(" to ")[0], text.strip()[-13:]) == (0, "3 judgments added", "about 6 texts")
    assert stored(run) == EXPECTED
    before = [(run / name).read_bytes() for name in (FILE, "feedback/pairwise.csv")]
    code, text = call("feedback", "import", file, *columns, "--config", path)
    assert (code, text.startswith("0 judgments added"), "(3 were stored already)" in text) == (0, True, True)
    assert [(run / name).read_bytes() for name in (FILE, "feedback/pairwise.csv")] == before


def test_swapped_columns_swap_the_sides(call: Call, tmp_path: Path, run: Path) -> None:
    file, path = write_csv(tmp_path / "feedback.csv", LESSON), configuration(tmp_path)
    call("feedback", "import", file, "--columns", "text_a=Title2,text_b=Title1", "--config", path)
    assert stored(run) == [(b, a, {"a": "b", "b": "a"}.get(choice, choice)) for a, b, choice in EXPECTED]


def test_bad_rows_are_named_by_line_and_nothing_is_stored(call: Call, tmp_path: Path, run: Path) -> None:
    file = write_csv(tmp_path / "f.csv", [*LESSON, ("x", "", "a"), ("x", "y", "perhaps")])
    path = configuration(tmp_path)
    code, text = call("feedback", "import", file, "--config", path)
    assert code == 2
    assert f"{file}, line 6: the text in column 'Title2' is empty" in text  # the row before has two lines
    assert f"{file}, line 7: unknown label 'perhaps'; it must be one of" in text
    assert "nothing was imported; fix these, or import the other 3 with --skip-bad" in text
    assert not (run / FILE).exists()
    assert not (run / "feedback").exists()
    code, text = call("feedback", "import", file, "--skip-bad", "--config", path)
    assert (code, "3 judgments added" in text, "2 rejected" in text) == (0, True, True)
    with (run / "feedback" / "f.rejects.csv").open(newline="") as rejects:
        assert [(row["line"], row["Title1"]) for row in csv.DictReader(rejects)] == [("6", "x"), ("7", "x")]


def test_a_file_read_in_another_way_is_no_silent_repetition(call: Call, tmp_path: Path, run: Path) -> None:
    """Once 0 and 1 were stored, other meanings of them must not be ignored."""
    file = write_csv(tmp_path / "f.csv", [("text_a", "text_b", "choice"), ("x", "y", "1"), ("v", "w", "0")])
    path = configuration(tmp_path)
    code, text = call("feedback", "import", file, "--config", path)
    assert (code, "labels: 1 means the first text is better, 0 the second" in text) == (0, True)
    path = configuration(tmp_path, items="items: {choices: {'1': b, '0': a}}")
    code, text = call("feedback", "import", file, "--config", path)
    assert (code, f"{file}, line 2: " in text, "with this id and other contents is stored already" in text) == (
        2,
        True,
        True,
    )
    assert [choice for _, _, choice in stored(run)] == ["a", "b"]


def test_exports_can_be_read_back(call: Call, tmp_path: Path, run: Path) -> None:
    file, path = write_csv(tmp_path / "feedback.csv", LESSON), configuration(tmp_path)
    call("feedback", "import", file, "--annotator", "ann", "--config", path)
    out = tmp_path / "out.csv"
    assert call("feedback", "export", out, "--config", path) == (0, f"3 judgments in {out}\n")
    code, text = call("feedback", "import", out, "--config", path)
    assert (code, text.startswith("0 judgments added")) == (0, True)
    code, _ = call("feedback", "import", out, "--config", path, "--set", "name=other")
    assert code == 0
    assert stored(run.with_name("other")) == EXPECTED
    code, text = call("feedback", "export", tmp_path / "out.jsonl", "--config", path)
    assert (code, "2 comparisons" in text, "left out 1 without a better text" in text) == (0, True, True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["chosen"], one["rejected"]) for one in lines] == [("x", "y, z"), ("w", "v")]


def test_check_and_statistics(call: Call, tmp_path: Path, run: Path) -> None:
    rows = [*LESSON[:2], *[("Title1", "Title2", "Label")][1:], *[("x", "y, z", "Title1")] * 2]
    path = configuration(tmp_path, items=f"items: {{csv: {write_csv(tmp_path / 'f.csv', rows)}}}")
    code, text = call("feedback", "check", "--config", path)
    assert (code, "3 rows in" in text, "about 2 texts: all valid" in text) == (0, True, True)
    code, text = call("feedback", "stats", "--config", path)
    assert (code, "text_comparison" in text) == (0, True), text
    (run / FILE).unlink()
    code, text = call("feedback", "check", "--config", path, "--set", "items.csv=null")
    assert (code, "image_a is" in text, text_id("x") in text, "there is no such image" in text) == (2, True, True, True)


def test_messages_of_what_texts_do_not_have(call: Call, tmp_path: Path) -> None:
    path = configuration(tmp_path)
    for arguments, message in (
        (("train-reward",), "no judgments: "),
        (("collect", "--teacher", "simulated"), "texts are judged by people on the page"),
        (("collect",), "items: comparing needs at least two texts; none was imported"),
        (("rank",), "TEXTS is missing: name a CSV file or one with a text per line"),
        (("rank", tmp_path / "none.csv"), "none.csv: no such file"),
        (("feedback", "stats"), "no judgments; set items.csv"),
        (("ppo",), "`ppo` does nothing for texts; its commands are collect, feedback import"),
        (("feedback", "import", tmp_path / "no.csv"), "no.csv: no such file"),
        (("feedback", "import", path, "--format", "trl"), "texts are imported from CSV files only"),
    ):
        code, text = call(*arguments, "--config", path)
        assert (code, message in text) == (2, True), text
    code, text = call("rank", tmp_path / "x.csv", "--config", "configs/digits.yaml")
    assert (code, "is about images, and rank is for texts: it needs a configuration with `items`" in text) == (2, True)
