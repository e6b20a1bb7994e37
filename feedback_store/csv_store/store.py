"""FeedbackStore: a folder with pairwise.csv and per_image.csv, the only place where judgments are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from feedback_store.csv_store.checks import check_names, check_pairwise, check_per_image
from feedback_store.csv_store.log import CsvLog
from feedback_store.records import Comparison, Judgment, PerImage

PAIRWISE = (
    "id",
    "created_at",
    "annotator",
    "round",
    "image_a",
    "label_a",
    "image_b",
    "label_b",
    "choice",
    "shown_first",
    "response_ms",
    "source",
    "retracts",
)
PER_IMAGE = (
    "id",
    "created_at",
    "annotator",
    "round",
    "image",
    "question",
    "label",
    "answer",
    "response_ms",
    "source",
    "retracts",
)


def as_row(judgment: Judgment) -> dict[str, str]:
    """A judgment as `FeedbackStore` reads it: every cell a string, under the columns of its file."""
    values = {f.name: getattr(judgment, f.name) for f in fields(judgment)}
    columns = PAIRWISE if isinstance(judgment, Comparison) else PER_IMAGE
    return {name: "" if values[name] is None else str(values[name]) for name in columns}


class FeedbackStore:
    """Append judgments; read those that stand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairwise = CsvLog(folder / "pairwise.csv", PAIRWISE, check_pairwise)
        self.per_image = CsvLog(folder / "per_image.csv", PER_IMAGE, check_per_image)

    def append(self, judgments: Sequence[Judgment]) -> int:
        """Store judgments durably; those whose id is stored already are left alone. Returns how many were new.

        A row that takes back what is taken back already is not stored again.

        Raises:
            ChangedError: a file is gone, changed or unreadable.
            FeedbackError: a row takes back one that does not exist, or the disk refused; send all of them again then.
        """
        pairs = [list(as_row(j).values()) for j in judgments if isinstance(j, Comparison)]
        images = [list(as_row(j).values()) for j in judgments if isinstance(j, PerImage)]
        if pairs and images:
            self.per_image.look()  # before anything is stored in the other file
        return (self.pairwise.append(pairs) if pairs else 0) + (self.per_image.append(images) if images else 0)

    def all_comparisons(self) -> pd.DataFrame:
        """Every row of pairwise.csv, checked, with its line number as index; all columns are strings."""
        return self.pairwise.read()

    def all_per_image(self) -> pd.DataFrame:
        """Every row of per_image.csv, checked, with its line number as index; all columns are strings."""
        return self.per_image.read()

    def comparisons(self) -> pd.DataFrame:
        """Comparisons that were not taken back, in the order they were given."""
        return _standing(self.all_comparisons())

    def per_image_judgments(self, question: str | None = None) -> pd.DataFrame:
        """Label choices, verdicts and ratings that were not taken back; of one question, if it is named."""
        frame = _standing(self.all_per_image())
        return frame if question is None else frame[frame["question"] == question]

    def check(self, images: Collection[str] | None = None, classes: Collection[str] | None = None) -> int:
        """Read all and raise FeedbackError at the first thing that is wrong; returns the number of rows.

        Args:
            images: ids that exist; None if they are not known here.
            classes: class names that exist; None likewise.
        """
        pairs, per_image = self.all_comparisons(), self.all_per_image()
        check_names(pairs, self.pairwise.path, images, classes)
        check_names(per_image, self.per_image.path, images, classes)
        return len(pairs) + len(per_image)

    @property
    def logs(self) -> tuple[CsvLog, CsvLog]:
        """Both files."""
        return self.pairwise, self.per_image

    @property
    def files(self) -> list[Path]:
        """The files that exist."""
        return [log.path for log in self.logs if log.path.is_file()]


def _standing(frame: pd.DataFrame) -> pd.DataFrame:
    """Without retracted rows, and without the rows that retract them."""
    retracting = frame["retracts"] != ""
    if not retracting.any():
        return frame
    taken_back = set(frame.loc[retracting, "retracts"])
    return frame[~retracting & ~frame["id"].isin(taken_back)]
