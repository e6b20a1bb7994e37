"""Audit answers keep their mark: in the store, in exports, and when they are taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feedback_store.audit import audit_images, audit_source, base_source, is_audit, without_images
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.exchange import label_studio, label_studio_export, plain_csv
from feedback_store.exchange.common import Names
from feedback_store.records import Comparison, label_choice

NAMES = Names({"train/ant/1.png": "img-1", "train/bee/2.png": "img-2"}, ("ant", "bee"))
AUDIT: dict[str, Any] = {"annotator": "ann", "source": "web:audit"}
OTHER: dict[str, Any] = {"annotator": "ann", "source": "web"}


@pytest.fixture
def store(tmp_path: Path) -> CsvFeedbackStore:
    made = CsvFeedbackStore(tmp_path / "feedback")
    made.append([label_choice("img-1", "ant", **AUDIT), label_choice("img-2", "bee", **OTHER)])
    return made


def test_the_mark_is_the_end_of_the_source() -> None:
    assert audit_source("web") == audit_source("web:audit") == "web:audit"
    assert (base_source("tk:audit"), base_source("tk")) == ("tk", "tk")
    assert [is_audit(source) for source in ("web:audit", "web", "audit")] == [True, False, False]


def test_other_rows_about_audited_images_are_left_out(store: CsvFeedbackStore) -> None:
    pair = {"label_a": "ant", "label_b": "ant", "choice": "a", **OTHER}
    store.append(
        [
            label_choice("img-1", "bee", **OTHER),
            Comparison(image_a="img-2", image_b="img-1", **pair),
            Comparison(image_a="img-2", image_b="img-2", **pair),
        ]
    )
    assert audit_images(store) == {"img-1"}
    assert list(without_images(store.per_image_judgments(), {"img-1"})["image"]) == ["img-2"]
    assert list(without_images(store.comparisons(), {"img-1"})["image_b"]) == ["img-2"]
    assert len(without_images(store.comparisons(), set())) == 2


def test_an_image_whose_audit_answer_was_taken_back_stays_audited(store: CsvFeedbackStore) -> None:
    answer = store.per_image_judgments().iloc[0]
    store.append([label_choice("img-1", "ant", retracts=answer["id"], **AUDIT)])
    assert list(store.per_image_judgments()["image"]) == ["img-2"]
    assert audit_images(store) == {"img-1"}


def test_the_mark_survives_export_and_import(store: CsvFeedbackStore, tmp_path: Path) -> None:
    plain_csv.write(tmp_path / "out.csv", store.per_image_judgments())
    written = label_studio_export.write(tmp_path / "out.json", store.comparisons(), store.per_image_judgments(), {})
    for imported in (plain_csv.read(tmp_path / "out.csv", NAMES), label_studio.read(written[0], NAMES, None)):
        assert not imported.rejects
        copy = CsvFeedbackStore(tmp_path / f"copy-{len(list(tmp_path.iterdir()))}")
        copy.append(imported.judgments)
        assert audit_images(copy) == {"img-1"}
        assert sorted(copy.per_image_judgments()["source"]) == ["web", "web:audit"]
