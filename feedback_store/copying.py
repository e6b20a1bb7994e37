"""Copy all judgments of a collection to another store, e.g. from CSV files to PostgreSQL and back."""

from __future__ import annotations

from feedback_store.store import FeedbackStore
from feedback_store.tables import TABLES


def copy_store(source: FeedbackStore, target: FeedbackStore) -> tuple[int, int]:
    """Add the rows of `source` that `target` lacks, retracted ones and late answers included, in their order.

    The rows of the target have to be the first rows of the source, table by table. So a copy can be brought up to date, and
    one that was interrupted is done again. The source may grow meanwhile: what is copied is a snapshot of it.

    Returns:
        numbers of rows that were new: counted ones, and late answers.

    Raises:
        FeedbackError: the target has other rows or cannot keep these, or the source is invalid.
    """
    added = []
    for one, other in ((source, target), (source.late, target.late)):
        rows = one.snapshot()
        added.append(0 if rows.is_empty() else other.copy_in({table: rows.pieces(table) for table in TABLES}))
    return added[0], added[1]
