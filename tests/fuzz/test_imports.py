"""Files of every import format: judgments that can be stored and read back, rejects with a reason, or one refusal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import bounded, fuzz

from feedback_store.csv_store.store import PAIRWISE, PER_IMAGE, FeedbackStore, as_row
from feedback_store.errors import FeedbackError
from feedback_store.exchange import label_studio, plain_csv, trl
from feedback_store.exchange.common import Names
from feedback_store.exchange.imported import Imported
from feedback_store.exchange.label_studio_config import IMAGES_CONFIG, LABELS_CONFIG, Objects
from stages.feedback import rejected_text

NAMES = Names({"train/ant/1.png": "img-1", "train/bee/2.png": "img-2"}, ("ant", "bee", "yes", "=wasp"))

texts = st.one_of(
    st.text(max_size=15),
    st.text(st.characters(categories=("Cs", "Cc", "Ll")), max_size=5),
    st.sampled_from(
        ["", "ant", "bee", "1.png", "2.png", "a", "b", "tie", "cant_tell", "yes", "3", "0001-01-01T00:00+14:00"]
    ),
    st.sampled_from(
        [
            "http://[::1",
            "2026-01-31T12:00:00Z",
            "9" * 20,
            "9" * 5000,
            "-1",
            "1e5",
            "NaN",
            "=1+1",
            "/" * 5000,
            "n" * 20_000,
        ]
    ),
    st.sampled_from(["label", "verdict", "rating", "left", "id-1", "id-2", "20260101", "\u0663", "?d=train/ant/1.png"]),
)
numbers = st.one_of(
    st.integers(-3, 9),
    st.integers(),
    st.floats(),
    st.sampled_from([10**20, 1e300, 1e13, -0.0, float("inf"), float("nan")]),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
damage = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.binary(max_size=8)), max_size=2)


def some_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A record with its usual fields, some of them missing and some of them anything."""
    usual = st.fixed_dictionaries({}, optional=fields)
    return st.tuples(usual, st.dictionaries(st.sampled_from(sorted(fields)), values, max_size=2)).map(
        lambda two: two[0] | two[1]
    )


def written(folder: Path, name: str, text: str, changes: list[tuple[float, int, bytes]]) -> Path:
    data = text.encode("utf-8", "surrogatepass")
    for place, length, piece in changes:
        start = int(place * len(data))
        data = data[:start] + piece + data[start + length :]
    path = folder / name
    path.write_bytes(data)
    return path


def outcome(act: Callable[[], Any]) -> Any:
    """What it returns, or the sentence of its refusal."""
    try:
        return act()
    except FeedbackError as error:
        said = str(error)
    assert said.encode()
    assert len(said) < 4000
    return said


def imported(folder: Path, form: str, read: Callable[[], Imported]) -> None:
    """Read, store and read back; nothing but the documented refusal may come out of it."""
    with bounded():
        found = outcome(read)
        if not isinstance(found, Imported):
            return
        for reject in found.rejects:
            assert reject.reason
            assert len(reject.reason) < 4000
            reject.reason.encode()
        rejected_text(form, found.rejects).encode(errors="backslashreplace")
        store = FeedbackStore(folder / "feedback")
        assert store.append(found.judgments) == len(found.judgments)
        assert store.check() == len(found.judgments)
        rows = {row["id"]: row for log in store.logs for row in log.read().to_dict("records")}
        assert rows == {judgment.id: as_row(judgment) for judgment in found.judgments}
        found.reject_contradictions(rows)  # type: ignore[arg-type]
        assert store.append(found.judgments) == 0


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


results = some_of(
    {
        "from_name": st.sampled_from(["better", "otherwise", "class", "rating", "verdict_choice", "rating_choice"]),
        "to_name": st.sampled_from(["image", "label_a", "better"]),
        "type": st.sampled_from(["pairwise", "choices", "rating"]),
        "meta": values | st.fixed_dictionaries({}, optional={"round": values, "source": values, "shown_first": values}),
        "value": values
        | st.fixed_dictionaries(
            {}, optional={"selected": texts, "choices": st.lists(texts, max_size=2) | values, "rating": numbers}
        ),
    }
)
annotations = some_of(
    {
        "id": values,
        "unique_id": texts,
        "completed_by": values | st.fixed_dictionaries({"email": values}),
        "lead_time": numbers,
        "created_at": texts,
        "was_cancelled": st.booleans(),
        "result": st.lists(results, max_size=2),
    }
)
tasks = some_of(
    {
        "id": values,
        "annotations": st.lists(annotations, max_size=2),
        "data": st.dictionaries(st.sampled_from(["image", "label", "label_a", "label_b", "image_a", "image_b"]), texts),
    }
)


@fuzz
@given(
    made=st.lists(tasks | values, max_size=3),
    config=st.sampled_from([None, LABELS_CONFIG, IMAGES_CONFIG]),
    changes=damage,
)
def test_label_studio(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], config: str | None, changes: Any
) -> None:
    folder = tmp_path_factory.mktemp("studio")
    path = written(folder, "x.json", json.dumps(made, indent=1), changes)
    imported(folder, "label-studio", lambda: label_studio.read(path, NAMES, config))


@fuzz
@given(
    changes=st.lists(
        st.tuples(
            st.floats(0, 1), st.integers(0, 30), st.text(max_size=8) | st.sampled_from(["<a>", "&x;", "$", "<!DOCTYPE"])
        ),
        max_size=3,
    ),
    config=st.sampled_from([LABELS_CONFIG, IMAGES_CONFIG, ""]) | st.text(max_size=40),
)
def test_labelling_configurations(changes: list[tuple[float, int, str]], config: str) -> None:
    for place, length, piece in changes:
        start = int(place * len(config))
        config = config[:start] + piece + config[start + length :]
    with bounded():
        outcome(lambda: Objects.of(config))
