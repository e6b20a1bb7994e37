"""Audit answers: about images drawn uniformly, to measure a policy with; nothing is ever trained on them.

An audit answer is a row whose `source` ends in `:audit` (`web:audit`). The mark is part of the row, so that it survives
export, import and changed settings, and versions that do not know it read the row as one of an unknown source.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback_store.store import FeedbackStore
from feedback_store.tables import TABLES

MARK = ":audit"
IMAGE_COLUMNS = ("image", "image_a", "image_b")


def audit_source(source: str) -> str:
    """The source of an audit answer; `source` is where it comes from, e.g. `web`."""
    return base_source(source) + MARK


def base_source(source: str) -> str:
    """Where a judgment comes from, audit or not."""
    return source.removesuffix(MARK)


def is_audit(source: str) -> bool:
    return source.endswith(MARK)


def audit_images(store: FeedbackStore) -> set[str]:
    """Ids of all images that were ever audited, also if the answers were retracted."""
    images: set[str] = set()
    for table in TABLES:
        frame = store.all_rows(table)
        marked = frame[frame["source"].str.endswith(MARK)]
        for column in marked.columns.intersection(list(IMAGE_COLUMNS)):
            images.update(marked[column])
    return images


def without_images(frame: pd.DataFrame, images: set[str]) -> pd.DataFrame:
    """Rows about none of these images."""
    columns = frame.columns.intersection(list(IMAGE_COLUMNS))
    if not images or not len(columns):
        return frame
    return frame[~np.logical_or.reduce([frame[column].isin(images) for column in columns])]
