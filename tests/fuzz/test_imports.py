"""Files of every import format: judgments that can be stored and read back, rejects with a reason, or one refusal."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import fuzz
from support.import_strategies import NAMES, damage, imported, outcome, some_of, texts, values, written

from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.exchange import plain_csv, trl

OURS = list(dict.fromkeys([*PAIRWISE, *PER_IMAGE]))
GOOD_CELLS = {
    "image": "1.png",
    "answer": "ant",
    "choice": "a",
    "label_a": "ant",
    "label_b": "bee",
    "image_a": "1.png",
    "image_b": "2.png",
    "created_at": "2026-01-31T12:00:00Z",
    "id": "id-1",
    "annotator": "ann",
    "source": "web",
    "round": "1",
}


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A CSV text: some of our columns or others', rows mostly of good cells, as some program writes it."""
    needed = draw(
        st.sampled_from(
            [["image", "answer"], ["image", "label_a", "label_b", "choice"], list(PAIRWISE), list(PER_IMAGE), []]
        )
    )
    columns = draw(st.permutations([*needed, *draw(st.lists(st.sampled_from([*OURS, "other", "", "=x"]), max_size=3))]))
    cell = {name: st.just(GOOD_CELLS.get(name, "")) | texts for name in columns}
    rows = draw(st.lists(st.tuples(*(cell[name] for name in columns)), max_size=4))
    text = io.StringIO()
    ends, quoting = (
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer = csv.writer(text, lineterminator=ends, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([columns, *rows, *draw(st.lists(st.lists(texts, max_size=3), max_size=2))])
    return text.getvalue() + draw(st.sampled_from(["", "\n\n", ",,,\n"]))


@fuzz
@given(text=tables(), columns=st.sampled_from([{}, {"image": "other"}, {"answer": "=x"}]), changes=damage)
def test_csv(tmp_path_factory: pytest.TempPathFactory, text: str, columns: dict[str, str], changes: Any) -> None:
    folder = tmp_path_factory.mktemp("csv")
    path = written(folder, "x.csv", text, changes)
    imported(folder, "csv", lambda: plain_csv.read(path, NAMES, columns))


@fuzz
@given(text=texts)
def test_columns(text: str) -> None:
    for given_columns in (text, f"image={text}", f"{text}=image"):
        outcome(lambda text=given_columns: plain_csv.parse_columns(text))


trl_records = some_of(
    {
        "prompt": st.sampled_from(
            ["1.png", "Which label fits the image 2.png?", "Which image is the better example of ant?"]
        ),
        "chosen": st.sampled_from(["ant", "1.png"]) | texts,
        "rejected": st.sampled_from(["bee", "2.png"]) | texts,
        "chosen_side": st.sampled_from(["a", "b"]),
        "id": texts,
        "created_at": texts,
        "annotator": texts,
        "round": values,
        "shown_first": texts,
        "response_ms": values,
        "source": texts,
    }
)


@fuzz
@given(records=st.lists(trl_records | values, max_size=4), deep=st.sampled_from([0, 0, 0, 55, 5000]), changes=damage)
def test_trl(tmp_path_factory: pytest.TempPathFactory, records: list[Any], deep: int, changes: Any) -> None:
    folder = tmp_path_factory.mktemp("trl")
    text = "".join(json.dumps(record) + "\n" for record in records) + "[" * deep
    path = written(folder, "x.jsonl", text, changes)
    imported(folder, "trl", lambda: trl.read(path, NAMES))
