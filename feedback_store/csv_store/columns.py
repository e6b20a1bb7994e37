"""The columns of the two CSV files, in their order in the file. docs/judging.md describes each.

To add a column, change this file, the record in `feedback_store.records` and, if its cells have rules, `checks`.
"""

from __future__ import annotations

PAIRWISE = (  # pairwise.csv: one row for each `Comparison`
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
PER_IMAGE = (  # per_image.csv: one row for each `PerImage`
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
