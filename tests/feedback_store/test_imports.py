"""Files of other tools with whatever can be wrong in them: one sentence with the line, never another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.exchange import label_studio, plain_csv, trl
from feedback_store.exchange.common import Names
from feedback_store.exchange.imported import Imported
from feedback_store.exchange.label_studio_config import Objects
from feedback_store.tables import as_row

NAMES = Names({"train/ant/1.png": "img-1", "train/bee/2.png": "img-2"}, ("ant", "bee"))
LONG = "9" * 5000
RECORD = {"prompt": "1.png", "chosen": "ant", "rejected": "bee"}
CHOICE = {"from_name": "class", "to_name": "img", "type": "choices", "value": {"choices": ["ant"]}}


def read_csv(folder: Path, text: str, **options: Any) -> Imported:
    path = folder / "x.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return plain_csv.read(path, NAMES, **options)


def read_trl(folder: Path, *records: dict[str, Any] | str) -> Imported:
    path = folder / "x.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return trl.read(path, NAMES)


def read_studio(folder: Path, text: str, config: str | None = None) -> Imported:
    path = folder / "x.json"
    path.write_text(text)
    return label_studio.read(path, NAMES, config)


def tasks(result: Any = CHOICE, data: Any = None, **annotation: Any) -> str:
    made = {"id": 5, "result": [result], **annotation}
    return json.dumps([{"id": 1, "data": data or {"image": "1.png"}, "annotations": [made]}])


def reasons(found: Imported) -> list[tuple[int, str]]:
    return [(reject.line, reject.reason) for reject in found.rejects]


BAD = [
    (
        {"response_ms": "1" * 20},
        "response_ms is '11111111111111111111'; it must be a whole number from 0 to 999999999999999",
    ),
    ({"round": "1" * 20}, "round is '1111"),
    ({"round": LONG}, "round is '9999"),
    ({"response_ms": "-1"}, "response_ms is '-1'; it must be a whole number"),
    ({"response_ms": "\u0661"}, "response_ms is '\u0661'; it must be a whole number"),
    ({"created_at": "0001-01-01T00:00+14:00"}, "the time '0001-01-01T00:00+14:00' is out of range"),
    ({"created_at": "0001-01-01T00:00Z"}, "created_at is '0001-01-01T00:00:00.000Z'; it must be UTC"),
    ({"created_at": "yesterday"}, "the time 'yesterday' is not ISO 8601"),
    ({"annotator": "n" * 20_000}, "annotator has 20000 characters; at most 10000 can be stored"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_cells_that_could_not_be_read_back_are_rejected(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    """ "1 judgment added", then every read failed: numbers of 20 digits, names of 200 KB."""
    name, value = next(iter(change.items()))
    found = read_csv(tmp_path, f"image,answer,{name}\n1.png,ant,\n2.png,bee,{value}\n")
    assert [line for line, _ in reasons(found)] == [3]
    assert reason in found.rejects[0].reason
    found = read_trl(tmp_path, RECORD, RECORD | change)
    assert [line for line, _ in reasons(found)] == [2]
    assert reason in found.rejects[0].reason
    assert len(found.rejects[0].reason) < 300


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (RECORD | {"prompt": "http://[::1"}, "there is no image 'http://[::1'"),
        (RECORD | {"chosen": "half \ud83d"}, r"unknown label 'half \ud83d'"),
        (
            RECORD | {"annotator": "half \ud83d"},
            "annotator holds a control character, a line break or an unpaired surrogate",
        ),
        (RECORD | {"annotator": ["a"]}, "annotator is ['a']; it must be text"),
        (RECORD | {"round": 1.5}, "round is 1.5; it must be a whole number"),
        (RECORD | {"round": float("inf")}, "round is inf; it must be a whole number"),
        (RECORD | {"response_ms": float("nan")}, "response_ms is nan; it must be a whole number"),
        (json.dumps(RECORD)[:-1] + f', "round": {LONG}}}', "round is inf; it must be a whole number"),
        (json.dumps(RECORD)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested more than 50 levels deep"),
        (json.dumps(RECORD)[:-1] + ', "x": ' + "[" * 60 + "]" * 60 + "}", "nested more than 50 levels deep"),
        (json.dumps(RECORD) + "{}", "not JSON: more text after the value"),
    ],
)
def test_trl_records_are_rejected_with_a_reason(tmp_path: Path, record: Any, reason: str) -> None:
    found = read_trl(tmp_path, RECORD, record)
    assert [line for line, _ in reasons(found)] == [2]
    assert reason in found.rejects[0].reason
    assert len(found.judgments) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (tasks(lead_time=1e13), "lead_time is 10000000000000.0; it must be seconds, from 0 to 999999999999"),
        (tasks(lead_time=1e300), "lead_time is 1e+300; it must be seconds"),
        (tasks(lead_time=float("inf")), "lead_time is inf; it must be seconds"),
        (tasks(lead_time="soon"), "lead_time is 'soon'; it must be seconds"),
        (tasks(lead_time=True), "lead_time is True; it must be seconds"),
        (tasks(CHOICE | {"meta": {"round": 1e20}}), "round is 1e+20; it must be a whole number"),
        (tasks(CHOICE | {"meta": {"round": 10**20}}), "round is 100000000000000000000; it must be a whole number"),
        (tasks(lead_time=0.5).replace("0.5", LONG), "lead_time is inf; it must be seconds"),
        (tasks(created_at="0001-01-01T00:00+14:00"), "the time '0001-01-01T00:00+14:00' is out of range"),
        (tasks(data={"image": "http://[::1"}), "there is no image 'http://[::1'"),
        (tasks(data={"image": {"a": 1}}), "the image's name is {'a': 1}; it must be text"),
        (tasks(completed_by=["ann"]), "completed_by is ['ann']; it must be text"),
        (
            tasks(completed_by="half \ud83d"),
            "annotator holds a control character, a line break or an unpaired surrogate",
        ),
        (tasks(unique_id={"a": 1}), "unique_id is {'a': 1}; it must be text"),
        (tasks({"value": 3}), "the annotation is not of the documented form"),
        (tasks(CHOICE | {"to_name": []}), "the annotation is not of the documented form"),
        (tasks(7), "the annotation is not of the documented form"),
    ],
)
def test_annotations_are_rejected_with_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    config = '<View><Image name="img" value="$image"/></View>'
    found = read_studio(tmp_path, text, config)
    assert [line for line, _ in reasons(found)] == [1]
    assert reason in found.rejects[0].reason
    assert not found.judgments


def test_numbers_nobody_uses_harm_nobody(tmp_path: Path) -> None:
    text = tasks(agreement=float("nan")).replace("NaN", f'NaN, "more": {LONG}, "most": Infinity')
    assert len(read_studio(tmp_path, text).judgments) == 1


@pytest.mark.parametrize("depth", [60, 100_000])
def test_an_export_nested_too_deeply_is_refused_with_its_line(tmp_path: Path, depth: int) -> None:
    text = '[\n{"id": 1},\n{"x": ' + "[" * depth + "]" * depth + "}]"
    with pytest.raises(FeedbackError, match=r"x\.json, line 3: nested more than 50 levels deep; export"):
        read_studio(tmp_path, text)


@pytest.mark.parametrize("config", ["<View", "", "\ud800", "\x00", "<!DOCTYPE x><View/>", "<a>" * 9999])
def test_labelling_configurations_that_cannot_be_read(config: str) -> None:
    with pytest.raises(FeedbackError, match="the labelling configuration"):
        Objects.of(config)


PAIR = "id,image,label_a,label_b,choice,created_at\n"


def test_contradictory_rows_with_one_id_are_all_named(tmp_path: Path) -> None:
    """One was kept, and the other called "already there"."""
    found = read_csv(
        tmp_path, PAIR + "x,1.png,ant,bee,a,\ny,1.png,ant,bee,a,\nx,1.png,ant,bee,b,\nx,1.png,ant,bee,a,\n"
    )
    assert [judgment.id for judgment in found.judgments] == ["y"]
    assert reasons(found) == [
        (2, "the id 'x': line 4 has the same id and other contents"),
        (4, "the id 'x': line 2 has the same id and other contents"),
        (5, "the id 'x': line 2 has the same id and other contents"),
    ]
    found = read_trl(tmp_path, RECORD | {"id": "x"}, RECORD | {"id": "x", "chosen": "bee", "rejected": "ant"})
    assert [line for line, _ in reasons(found)] == [1, 2]
    found = read_studio(
        tmp_path,
        json.dumps(
            [json.loads(tasks(r, unique_id="x"))[0] for r in (CHOICE, CHOICE | {"value": {"choices": ["bee"]}})]
        ),
    )
    assert [line for line, _ in reasons(found)] == [1, 1]


def test_rows_that_say_the_same_twice_are_stored_once(tmp_path: Path) -> None:
    """Also where one of them does not say when it was given."""
    found = read_csv(
        tmp_path, PAIR + "x,1.png,ant,bee,a,\nx,1.png,ant,bee,a,2026-01-31T12:00:00Z\nx,1.png,ant,bee,a,\n"
    )
    assert (len(found.judgments), found.repeated, found.rejects) == (1, 2, [])
    found = read_trl(tmp_path, RECORD, RECORD | {"response_ms": 5})
    assert (len(found.judgments), found.repeated) == (1, 1), (
        "an id made of what was asked and answered is no contradiction"
    )


def test_what_contradicts_a_stored_row_is_named(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path / "feedback")
    store.append(read_csv(tmp_path, PAIR + "x,1.png,ant,bee,a,\ny,1.png,ant,bee,a,2026-01-31T12:00:00Z\n").judgments)
    stored = {row["id"]: row for row in store.comparisons().to_dict("records")}
    again = PAIR + "x,1.png,ant,bee,b,\ny,1.png,ant,bee,a,2026-01-31T12:00:00Z\nz,1.png,ant,bee,b,\n"
    found = read_csv(tmp_path, again)
    found.reject_contradictions(stored)  # type: ignore[arg-type]
    assert reasons(found) == [(2, "the id 'x': a judgment with this id and other contents is stored already")]
    assert [judgment.id for judgment in found.judgments] == ["y", "z"]
    found = read_csv(tmp_path, PAIR + "x,1.png,ant,bee,a,\ny,1.png,ant,bee,a,\n")
    found.reject_contradictions(stored)  # type: ignore[arg-type]
    assert not found.rejects, "a row that says no time is the stored one"


FORMS: dict[str, Callable[[str], str]] = {
    "trailing blank lines": lambda text: text + "\n\n,,,,\n",
    "all cells quoted": lambda text: "".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text.splitlines()
    ),
    "trailing commas": lambda text: text.replace("\n", ",,\n"),
    "reordered columns": lambda text: "".join(",".join(reversed(line.split(","))) + "\n" for line in text.splitlines()),
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "byte order mark": lambda text: "\ufeff" + text,
}


@pytest.mark.parametrize("form", FORMS)
def test_what_spreadsheets_make_of_a_file_is_read(tmp_path: Path, form: str) -> None:
    text = "id,image,answer,annotator,created_at\nx,1.png,ant,ann,2026-01-31T12:00:00Z\ny,2.png,bee,bob,2026-01-31T12:00:00Z\n"
    plain, changed = read_csv(tmp_path, text), read_csv(tmp_path, FORMS[form](text))
    assert not changed.rejects
    assert [as_row(judgment) for judgment in changed.judgments] == [as_row(judgment) for judgment in plain.judgments]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"image,answer\n1.png,ant\n', "line 1: unexpected end of data; it is not a CSV file with a header"),
        ("image,answer,answer\n1.png,ant,bee\n", "line 1: the column 'answer' occurs twice; rename or delete one"),
        ("n" * 200_000 + ",answer\n", "line 1: a cell has more than 10000 characters"),
        ("", "line 1: no column answer, image"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FeedbackError, match=message) as error:
        read_csv(tmp_path, text)
    assert len(str(error.value)) < 1000


def test_a_cell_that_no_reader_takes_is_rejected_with_its_line(tmp_path: Path) -> None:
    found = read_csv(tmp_path, "image,answer\n1.png,ant\n2.png," + "b" * 200_000 + "\n2.png,bee\n")
    assert reasons(found) == [(3, "a cell has more than 10000 characters; nothing below this line could be read")]
