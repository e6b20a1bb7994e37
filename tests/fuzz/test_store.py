"""The store's two files with random edits: reading gives rows or a FeedbackError, and so does every append."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import bounded, fuzz

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.records import Comparison, Judgment, rating

pytestmark = pytest.mark.filterwarnings("ignore::feedback_store.errors.FeedbackWarning")

COMMON = {"created_at": "2026-11-21T10:00:00.000Z", "annotator": "ann", "source": "web"}
pieces = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"", b",", b'"', b"\r\n", b"\n", b"\r", b"\x00", b"\xef\xbb\xbf", b"'", b";", b",,,,\n", b"9" * 200_000]
    ),
    st.sampled_from([b"id", b"1,2,3\n", b'"a\nb"', b"\xed\xa0\xbd", b"2026-02-30T", b"gone", b"j1", b"=1+1"]),
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60), pieces), min_size=1, max_size=4)


def judgments(kind: str, start: int, count: int) -> list[Judgment]:
    numbers = range(start, start + count)
    if kind == "per_image":
        return [rating("img", "ant", 1 + n % 9, id=f"j{n}", **COMMON) for n in numbers]
    pair = {"image_a": "img", "label_a": "=ant", "image_b": "img", "label_b": "be,e", "choice": "a", **COMMON}
    return [Comparison(id=f"j{n}", retracts="" if n != start + 2 else f"j{start}", **pair) for n in numbers]  # type: ignore[arg-type]


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Each change takes so many bytes away at a place, and puts others there."""
    for place, length, piece in changes:
        start = int(place * len(data))
        data = data[:start] + piece + data[start + length :]
    return data


@fuzz
@given(kind=st.sampled_from(["pairwise", "per_image"]), file=edits, seal=st.none() | edits, sealed=st.booleans())
def test_a_changed_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    file: list[tuple[float, int, bytes]],
    seal: list[tuple[float, int, bytes]] | None,
    sealed: bool,
) -> None:
    store = CsvFeedbackStore(tmp_path_factory.mktemp("store"))
    store.append(judgments(kind, 0, 5))
    log = store.pairwise if kind == "pairwise" else store.per_image
    log.path.write_bytes(edited(log.path.read_bytes(), file))
    if not sealed:
        log.seal.path.unlink()
    elif seal is not None:
        log.seal.path.write_bytes(edited(log.seal.path.read_bytes(), seal))
    with bounded():
        for process in (store, CsvFeedbackStore(store.folder)):
            readable = _readable(process)
            try:
                added = process.append(judgments(kind, 100, 3))
            except FeedbackError:
                continue
            assert readable, "nothing is appended to a file that cannot be read"
            assert added in (0, 3)
            assert _readable(process), "what was acknowledged can be read"
        try:
            log.accept()
        except FeedbackError:
            return
        assert _readable(CsvFeedbackStore(store.folder)), "what was accepted can be read"
        assert CsvFeedbackStore(store.folder).append(judgments(kind, 200, 3)) == 3
        assert _readable(store)


def _readable(store: CsvFeedbackStore) -> bool:
    said = ""
    try:
        return store.check() >= 0
    except FeedbackError as error:
        said = str(error)
    assert str(store.folder) in said
    assert len(said) < 2000
    return False
