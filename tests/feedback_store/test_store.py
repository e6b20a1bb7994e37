"""The store loses nothing and accepts nothing bad in silence."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pandas as pd
import pytest

from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.records import Comparison, PerImage, label_choice, rating, verdict


def comparison(**changes: object) -> Comparison:
    fields = {"annotator": "ann", "source": "web", "image_a": "img-1", "label_a": "ant", "image_b": "img-1"}
    return Comparison(**{**fields, "label_b": "bee", "choice": "a", **changes})  # type: ignore[arg-type]


def test_columns_are_the_documented_ones(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    store.append([comparison(id="1"), label_choice("img-2", "bee", id="2", annotator="ann", source="web")])
    pairs, images = pd.read_csv(tmp_path / "pairwise.csv"), pd.read_csv(tmp_path / "per_image.csv")
    assert tuple(pairs.columns) == PAIRWISE
    assert tuple(images.columns) == PER_IMAGE
    assert pairs.loc[0, "label_a"] == "ant"
    assert images.loc[0, "answer"] == "bee"


def test_every_kind_comes_back(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    common = {"annotator": "ann", "source": "web", "response_ms": 812, "round": 2}
    kinds = [
        comparison(choice="tie", shown_first="b", **common),
        label_choice("img-1", "bee", **common),
        verdict("img-1", "ant", "no", **common),
        rating("img-1", "ant", 4, **common),
    ]
    assert store.append(kinds) == 4
    pair = store.comparisons().iloc[0]
    assert (pair["choice"], pair["shown_first"], pair["response_ms"], pair["round"]) == ("tie", "b", "812", "2")
    assert list(store.per_image_judgments()["question"]) == ["label", "verdict", "rating"]
    assert store.per_image_judgments("rating").iloc[0]["answer"] == "4"


def test_sending_twice_stores_once_also_by_another_process(tmp_path: Path) -> None:
    one, other = CsvFeedbackStore(tmp_path), CsvFeedbackStore(tmp_path)
    judged = comparison()
    assert [one.append([judged]), one.append([judged]), other.append([judged, judged])] == [1, 0, 0]
    assert len(one.comparisons()) == 1


def test_retraction_takes_back_but_removes_no_row(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    first, second = comparison(), comparison(choice="b")
    store.append([first, second, comparison(retracts=first.id, choice="cant_tell")])
    assert list(store.comparisons()["id"]) == [second.id]
    assert len(store.pairwise.read()) == 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: comparison(choice="c"), "choice is 'c'"),
        (lambda: comparison(label_a=""), "label_a is empty"),
        (lambda: comparison(annotator="a\nb"), "control character"),
        (lambda: comparison(round=-1), "round is -1"),
        (lambda: comparison(shown_first="left"), "shown_first"),
        (lambda: verdict("i", "ant", "maybe", annotator="a", source="web"), "answer is 'maybe'"),
        (lambda: verdict("i", "", "yes", annotator="a", source="web"), "label is empty"),
        (lambda: PerImage(image="i", question="why", answer="x", annotator="a", source="web"), "question is 'why'"),
        (lambda: PerImage(image="i", question="rating", label="a", answer="good", annotator="a", source="w"), "rating"),
    ],
)
def test_bad_judgments_are_refused(build: object, message: str) -> None:
    with pytest.raises(FeedbackError, match=message):
        build()  # type: ignore[operator]


def _append_many(folder: Path, writer: int) -> None:
    store = CsvFeedbackStore(folder)
    for number in range(40):
        store.append([comparison(id=f"{writer}-{number}", annotator=f"w{writer}")])


def test_concurrent_writers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(tmp_path, writer)) for writer in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    stored = CsvFeedbackStore(tmp_path).comparisons()
    assert len(stored) == 160
    assert set(stored["id"]) == {f"{w}-{n}" for w in range(4) for n in range(40)}


PAIR = "1,2026-11-21T10:00:00.000Z,ann,0,img-1,ant,img-1,bee,a,a,120,web,"
ONE = "1,2026-11-21T10:00:00.000Z,ann,0,img-1,verdict,ant,yes,120,web,"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2026-11-21T10", "2026-13-21T10", "created_at is '2026-13-21T10:00:00.000Z'"),
        ("2026-11-21T10:00:00.000Z", "yesterday", "created_at is 'yesterday'"),
        (",0,img", ",x,img", "round is 'x'"),
        (",a,a,", ",c,a,", "choice is 'c'"),
        (",a,a,", ",a,left,", "shown_first is 'left'"),
        (",120,", ",fast,", "response_ms is 'fast'"),
        ("img-1,ant", ",ant", "image_a is ''"),
        ("ann", "", "annotator is ''"),
        ("web,", "web,7", "retracts is '7'; no row has that id"),
        ("ann", "a\x07n", "annotator is"),
        ("ann", "a\u2028n", "annotator is"),
    ],
)
def test_a_bad_cell_of_a_comparison_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    good = PAIR.replace("1,", "0,", 1)
    path = tmp_path / "pairwise.csv"
    path.write_text("\n".join([",".join(PAIRWISE), good, PAIR.replace(old, new, 1), ""]), encoding="utf-8")
    with pytest.raises(FeedbackError, match=f"line 3: {message}") as error:
        CsvFeedbackStore(tmp_path).comparisons()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("verdict", "opinion", "question is 'opinion'"),
        ("yes", "ja", "answer is 'ja'; a verdict"),
        ("verdict,ant,yes", "rating,ant,good", "answer is 'good'; a rating"),
        ("verdict,ant,yes", "rating,ant,0", "answer is '0'; a rating"),
        ("ant,yes", ",yes", "label is ''; the label asked about"),
    ],
)
def test_a_bad_cell_of_a_per_image_judgment_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "per_image.csv"
    path.write_text("\n".join([",".join(PER_IMAGE), ONE.replace(old, new, 1), ""]), encoding="utf-8")
    with pytest.raises(FeedbackError, match=f"line 2: {message}"):
        CsvFeedbackStore(tmp_path).per_image_judgments()


def test_unknown_images_and_classes_are_named(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    store.append([comparison(id="1"), label_choice("img-2", "wasp", id="2", annotator="ann", source="web")])
    assert store.check() == 2
    assert store.check({"img-1", "img-2"}, ("ant", "bee", "wasp")) == 2
    with pytest.raises(FeedbackError, match=r"per_image.csv, line 2: image is 'img-2'; there is no such image"):
        store.check({"img-1"}, None)
    with pytest.raises(FeedbackError, match=r"per_image.csv, line 2: answer is 'wasp'.*ant, bee"):
        store.check(None, ("ant", "bee"))
    with pytest.raises(FeedbackError, match=r"pairwise.csv, line 2: label_b is 'bee'"):
        store.check(None, ("ant", "wasp"))


def _killed_while_appending(folder: Path) -> None:
    store = CsvFeedbackStore(folder)
    for number in range(100_000):
        store.append([comparison(id=str(number))])
        with (folder / "acknowledged").open("a") as file:
            file.write(f"{number}\n")


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_appending, args=(tmp_path,))
    process.start()
    while not (tmp_path / "acknowledged").is_file() or (tmp_path / "acknowledged").stat().st_size < 200:
        assert process.is_alive()
    process.kill()
    process.join()
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    store = CsvFeedbackStore(tmp_path)
    store.append([comparison(id="after")])
    stored = list(store.comparisons()["id"])
    assert stored[: len(acknowledged)] == acknowledged
    assert stored[-1] == "after"
