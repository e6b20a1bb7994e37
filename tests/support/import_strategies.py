"""Random values for files of import formats, and what an import must come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.exchange.common import Names
from feedback_store.exchange.imported import Imported
from feedback_store.tables import as_row
from stages.feedback import rejected_text
from support.fuzzing import bounded

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
        store = CsvFeedbackStore(folder / "feedback")
        assert store.append(found.judgments) == len(found.judgments)
        assert store.check() == len(found.judgments)
        rows = {row["id"]: row for log in store.logs.values() for row in log.read().to_dict("records")}
        assert rows == {judgment.id: as_row(judgment) for judgment in found.judgments}
        found.reject_contradictions(rows)  # type: ignore[arg-type]
        assert store.append(found.judgments) == 0
