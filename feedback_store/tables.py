"""The two tables of every store, and a judgment as one of their rows: every cell is text."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal

from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.records import Comparison, Judgment

TableName = Literal["pairwise", "per_image"]
Row = dict[str, str]

TABLES: dict[TableName, tuple[str, ...]] = {"pairwise": PAIRWISE, "per_image": PER_IMAGE}


def table_of(judgment: Judgment) -> TableName:
    """The table that keeps this judgment."""
    return "pairwise" if isinstance(judgment, Comparison) else "per_image"


def as_row(judgment: Judgment) -> Row:
    """A judgment as stores return it: a cell for each column of its table, empty where the record has None."""
    values = {field.name: getattr(judgment, field.name) for field in fields(judgment)}
    return {name: "" if values[name] is None else str(values[name]) for name in TABLES[table_of(judgment)]}
