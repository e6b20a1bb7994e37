"""FeedbackStore: a folder with pairwise.csv and per_image.csv, the only place where judgments are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from feedback_store.csv_log import CsvLog
from feedback_store.judgments import Comparison, Judgment, PerImage

PAIRWISE = (
    "id", "created_at", "annotator", "round", "image_a", "label_a", "image_b", "label_b", "choice", "shown_first",
    "response_ms", "source", "retracts",
)  # fmt: skip
PER_IMAGE = (
    "id", "created_at", "annotator", "round", "image", "question", "label", "answer", "response_ms", "source", "retracts",
)  # fmt: skip


def _cells(judgment: Judgment, columns: Sequence[str]) -> list[str]:
    values = {f.name: getattr(judgment, f.name) for f in fields(judgment)}
    return ["" if values[name] is None else str(values[name]) for name in columns]


class FeedbackStore:
    """Append judgments; read those that stand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairwise = CsvLog(folder / "pairwise.csv", PAIRWISE)
        self.per_image = CsvLog(folder / "per_image.csv", PER_IMAGE)

    def append(self, judgments: Sequence[Judgment]) -> int:
        """Store judgments durably; those whose id is stored already are left alone. Returns how many were new."""
        pairs = [_cells(j, PAIRWISE) for j in judgments if isinstance(j, Comparison)]
        images = [_cells(j, PER_IMAGE) for j in judgments if isinstance(j, PerImage)]
        return (self.pairwise.append(pairs) if pairs else 0) + (self.per_image.append(images) if images else 0)

    def comparisons(self) -> pd.DataFrame:
        """Comparisons that were not taken back, in the order they were given."""
        return _standing(self.pairwise.read())

    def per_image_judgments(self, question: str | None = None) -> pd.DataFrame:
        """Label choices, verdicts and ratings that were not taken back; of one question, if it is named."""
        frame = _standing(self.per_image.read())
        return frame if question is None else frame[frame["question"] == question].reset_index(drop=True)

    @property
    def files(self) -> list[Path]:
        """The files that exist."""
        return [log.path for log in (self.pairwise, self.per_image) if log.path.is_file()]


def _standing(frame: pd.DataFrame) -> pd.DataFrame:
    """Without retracted rows, and without the rows that retract them."""
    retracting = frame["retracts"] != ""
    if not retracting.any():
        return frame
    taken_back = set(frame.loc[retracting, "retracts"])
    return frame[~retracting & ~frame["id"].isin(taken_back)].reset_index(drop=True)
