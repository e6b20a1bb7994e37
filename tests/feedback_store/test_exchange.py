"""Other tools' formats: what they document is read, what is wrong is named by line, and ours comes back unchanged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import jsonschema
import pytest
from support.label_studio_schema import TASKS_SCHEMA

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.exchange import label_studio, label_studio_export, plain_csv, trl
from feedback_store.exchange.common import Names
from feedback_store.exchange.imported import Imported
from feedback_store.exchange.label_studio_config import Objects
from feedback_store.records import Comparison, Judgment, label_choice, rating, verdict
from feedback_store.schemas import Subject, schemas

FILES = {"train/ant/1.png": "img-1", "train/bee/2.png": "img-2", "train/bee/it's 3.png": "img-3"}
NAMES = Names(FILES, ("ant", "bee", "=wasp"))
COMMON: dict[str, Any] = {"annotator": "ann", "source": "web", "response_ms": 1234, "round": 1}


def everything() -> list[Judgment]:
    pair = {"image_a": "img-1", "label_a": "ant", "image_b": "img-1", "label_b": "=wasp", **COMMON}
    two = {"image_a": "img-2", "label_a": "bee", "image_b": "img-3", "label_b": "bee", **COMMON}
    return [
        Comparison(choice="a", shown_first="b", **pair),
        Comparison(choice="b", **pair),
        Comparison(choice="tie", **pair),
        Comparison(choice="cant_tell", **pair),
        Comparison(choice="b", **two),
        Comparison(choice="bad_image", **two),
        label_choice("img-1", "=wasp", **COMMON),
        label_choice("img-3", "cant_tell", **COMMON),
        verdict("img-1", "bee", "no", **COMMON),
        verdict("img-2", "bee", "bad_image", **COMMON),
        rating("img-2", "bee", 4, **COMMON),
        rating("img-2", "ant", 1, **{**COMMON, "response_ms": None}),
        *page(),
    ]


def page() -> Sequence[Judgment]:
    """An answer to a page of three images, of which the second is an exception."""
    subject = Subject(("img-1", "img-2", "img-3"), ("ant",))
    return schemas.get("grid").records(subject, "1:=wasp", page="0" * 24, id="answer-1", **COMMON)


@pytest.fixture
def store(tmp_path: Path) -> CsvFeedbackStore:
    made = CsvFeedbackStore(tmp_path / "feedback")
    made.append(everything())
    return made


def rows(judgments: Sequence[Judgment], folder: Path) -> list[dict[str, str]]:
    """What the judgments are as stored rows, in the order of their ids."""
    store = CsvFeedbackStore(folder)
    store.append(judgments)
    found = [*store.comparisons().to_dict("records"), *store.per_image_judgments().to_dict("records")]
    return sorted(found, key=lambda row: str(row["id"]))  # type: ignore[return-value]


def test_label_studio_and_back(store: CsvFeedbackStore, tmp_path: Path) -> None:
    files = {image: path for path, image in FILES.items()}
    written = label_studio_export.write(tmp_path / "out.json", store.comparisons(), store.per_image_judgments(), files)
    assert [path.name.split(".")[1] for path in written] == [
        "comparison",
        "image_comparison",
        "label",
        "verdict",
        "rating",
        "grid",
    ]
    found = [label_studio.read(path, NAMES, path.with_suffix(".xml").read_text()) for path in written]
    assert not [reject for one in found for reject in one.rejects]
    back = [judgment for one in found for judgment in one.judgments]
    assert rows(back, tmp_path / "back") == rows(everything_as_stored(store), tmp_path / "same")
    without_config = [judgment for path in written for judgment in label_studio.read(path, NAMES).judgments]
    assert rows(without_config, tmp_path / "again") == rows(back, tmp_path / "back")


def everything_as_stored(store: CsvFeedbackStore) -> list[Judgment]:
    """The same judgments with the ids and times the store has, by way of our own CSV."""
    read = [plain_csv.read(log.path, NAMES) for log in (store.pairwise, store.per_image)]
    return [judgment for one in read for judgment in one.judgments]


def test_csv_and_back(store: CsvFeedbackStore, tmp_path: Path) -> None:
    plain_csv.write(tmp_path / "p.csv", store.comparisons())
    plain_csv.write(tmp_path / "i.csv", store.per_image_judgments())
    assert "'=wasp" in (tmp_path / "p.csv").read_text(), "no formula in an export either"
    back = [*plain_csv.read(tmp_path / "p.csv", NAMES).judgments, *plain_csv.read(tmp_path / "i.csv", NAMES).judgments]
    before = [*store.comparisons().to_dict("records"), *store.per_image_judgments().to_dict("records")]
    assert rows(back, tmp_path / "back") == sorted(before, key=lambda row: str(row["id"]))


def test_trl_and_back(store: CsvFeedbackStore, tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    assert trl.write(path, store.comparisons()) == (3, 3)
    back = trl.read(path, NAMES)
    assert not back.rejects
    decided = store.comparisons()[store.comparisons()["choice"].isin(("a", "b"))]
    assert rows(back.judgments, tmp_path / "back") == sorted(decided.to_dict("records"), key=lambda row: str(row["id"]))


def test_datasets_reads_the_preference_file(store: CsvFeedbackStore, tmp_path: Path) -> None:
    """The loader that TRL's RewardTrainer is given its data by."""
    path = tmp_path / "preferences.jsonl"
    trl.write(path, store.comparisons())
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)
    assert len(loaded) == 3
    assert {(row["chosen"], row["rejected"]) for row in loaded} == {
        ("ant", "=wasp"),
        ("=wasp", "ant"),
        ("img-3", "img-2"),
    }


def test_our_export_is_of_the_documented_form(store: CsvFeedbackStore, tmp_path: Path) -> None:
    written = label_studio_export.write(tmp_path / "o.json", store.comparisons(), store.per_image_judgments(), {})
    for path in written:
        tasks = json.loads(path.read_text())
        jsonschema.validate(tasks, TASKS_SCHEMA)
        objects = Objects.of(path.with_suffix(".xml").read_text())
        for result in (r for task in tasks for annotation in task["annotations"] for r in annotation["result"]):
            assert result["from_name"] in objects.to_name, "every control tag is in the labelling configuration"


def test_any_csv_by_naming_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("file,who,class\n1.png,ann,ant\n2.png,bob,elk\nnone.png,bob,ant\n2.png,bob,bee,extra\n2.png,,bee\n")
    columns = plain_csv.parse_columns("image=file,answer=class,annotator=who")
    found = plain_csv.read(path, NAMES, columns)
    assert [(j.image, j.answer, j.annotator) for j in found.judgments] == [  # type: ignore[attr-defined]
        ("img-1", "ant", "ann"),
        ("img-2", "bee", "imported"),
    ]
    assert [(r.line, r.reason.split(";")[0]) for r in found.rejects] == [
        (3, "unknown label 'elk'"),
        (4, "there is no image 'none.png', or several of that name"),
        (5, "more cells than the header has"),
    ]


def test_comparisons_by_the_label_that_won(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("image,label_a,label_b,winner\n1.png,ant,bee,bee\n1.png,ant,bee,tie\n1.png,ant,bee,neither\n")
    found = plain_csv.read(path, NAMES, {"choice": "winner"})
    assert [j.choice for j in found.judgments] == ["b", "tie"]  # type: ignore[attr-defined]
    assert [(r.line, r.reason.split(";")[0]) for r in found.rejects] == [(4, "choice is 'neither'")]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", {}, "line 1: no column answer, image among 'a', 'b'"),
        ("image,answer\n1,2\n", {"annotator": "who"}, "line 1: no column 'who'"),
        ("choice\na\n", {}, "line 1: no column label_a, label_b"),
    ],
)
def test_missing_columns(tmp_path: Path, text: str, columns: dict[str, str], message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(FeedbackError, match=message):
        plain_csv.read(path, NAMES, columns)
    with pytest.raises(FeedbackError, match="image=filename"):
        plain_csv.parse_columns("picture=file")


def test_rows_taken_back_stay_out(store: CsvFeedbackStore, tmp_path: Path) -> None:
    first = store.comparisons().iloc[0]
    pair = {name: first[name] for name in ("image_a", "label_a", "image_b", "label_b", "choice")}
    store.append([Comparison(annotator="ann", source="web", retracts=first["id"], **pair)])
    found = plain_csv.read(store.pairwise.path, NAMES)
    assert len(found.judgments) == len(store.comparisons()) == 5
    assert dict(found.left_out) == {"retracted rows": 1}


def test_trl_as_others_write_it(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines: list[Any] = [
        {"prompt": "train/ant/1.png", "chosen": "ant", "rejected": "bee"},
        {
            "prompt": [{"role": "user", "content": "2.png"}],
            "chosen": [{"role": "assistant", "content": "bee"}],
            "rejected": [{"role": "assistant", "content": "ant"}],
        },
        {"prompt": "1.png", "chosen": "ant", "rejected": "ant"},
        {"prompt": "1.png", "chosen": "ant"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\nnot json\n")
    found: Imported = trl.read(path, NAMES)
    assert [(j.image_a, j.label_a, j.label_b, j.choice) for j in found.judgments] == [  # type: ignore[attr-defined]
        ("img-1", "ant", "bee", "a"),
        ("img-2", "bee", "ant", "a"),
    ]
    assert [(r.line, r.reason.split(":")[0]) for r in found.rejects] == [
        (3, "chosen and rejected are the same"),
        (4, "'rejected' is missing or not text"),
        (5, "not JSON"),
    ]


def test_names() -> None:
    for name in (
        "img-3",
        "train/bee/it's 3.png",
        "it's 3.png",
        "/abs/train/bee/it's 3.png",
        "http://h/x/train/bee/it%27s%203.png",
    ):
        assert NAMES.image(name) == "img-3"
    twins = Names({"a/1.png": "img-1", "b/1.png": "img-2"})
    assert twins.image("b/1.png") == "img-2"
    for unknown in ("1.png", "", "../b/2.png"):
        with pytest.raises(FeedbackError):
            twins.image(unknown)


def test_a_row_that_names_a_comparison_without_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("question,image,answer\ncomparison,1.png,ant\nlable,1.png,ant\n")
    found = plain_csv.read(path, Names({"1.png": "img-1"}, ("ant", "bee")))
    (_, first), (_, second) = [(reject.line, reject.reason) for reject in found.rejects]
    assert first == "question is 'comparison'; a row without `choice` needs one of label, verdict, rating, grid"
    assert "unknown judgment kind 'lable'" in second
