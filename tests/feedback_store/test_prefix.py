"""The first rows of a store stay what they were, whatever is stored behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.prefix import PrefixStore, limited, prefix_of
from feedback_store.records import Comparison, label_choice
from feedback_store.store import START, FeedbackStore

GIVEN = {"annotator": "ann", "source": "web", "created_at": "2026-11-26T10:00:00.000Z"}


def choice(number: int, **changes: str) -> object:
    return label_choice(f"img-{number}", "ant", id=f"id-{number}", **(GIVEN | changes))


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    store = CsvFeedbackStore(tmp_path)
    sides = {"image_a": "img-0", "label_a": "ant", "image_b": "img-0", "label_b": "bee"}
    store.append([choice(0), choice(1), Comparison(id="pair", choice="a", **sides, **GIVEN)])  # type: ignore[list-item]
    return store


def test_a_prefix_does_not_change_with_what_comes_later(store: FeedbackStore) -> None:
    before = prefix_of(store)
    assert before.rows == {"pairwise": 1, "per_image": 2}
    store.append([label_choice("img-0", "ant", id="back", retracts="id-0", **GIVEN)])  # type: ignore[arg-type]
    assert prefix_of(store, before.counts) == before
    assert prefix_of(store).sha256 != before.sha256
    first = PrefixStore(store, before.counts)
    assert list(first.per_image_judgments()["id"]) == ["id-0", "id-1"], "the retraction came later"
    assert list(store.per_image_judgments()["id"]) == ["id-1"]
    assert first.fingerprint() == {"judgments": before.sha256}
    assert [row["id"] for row in first.rows_since(START).rows] == ["pair", "id-0", "id-1"]
    assert first.rows_since(first.rows_since(START).position).rows == []


def test_every_cell_counts(store: FeedbackStore, tmp_path: Path) -> None:
    before = prefix_of(store, [0, 1])
    other = CsvFeedbackStore(tmp_path / "other")
    other.append([choice(0, annotator="bob")])  # type: ignore[list-item]
    assert prefix_of(other).rows == before.rows
    assert prefix_of(other).sha256 != before.sha256


def test_nothing_is_stored_and_nothing_missing_is_read(store: FeedbackStore) -> None:
    with pytest.raises(FeedbackError, match=r"first_rows is set.*nothing is stored"):
        PrefixStore(store, [1, 2]).append([choice(2)])  # type: ignore[list-item]
    with pytest.raises(FeedbackError, match=r"per_image\.csv: 2 rows, fewer than the first 3.*restore"):
        prefix_of(store, [1, 3])
    assert limited(store, None) is store
    assert limited(store, [0, 0]).is_empty()
