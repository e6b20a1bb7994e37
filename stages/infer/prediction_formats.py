"""Predictions as CSV, JSON Lines or Parquet: the same rows, written one by one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feedback_store.csv_store.line import FORMULA_STARTS
from pipeline.models.predictor import Prediction
from stages.infer.journal import Line

FORMATS = ("csv", "jsonl", "parquet")
ROW_GROUP = 2048  # rows of a Parquet file that are in memory at a time
DIGITS = 6
UNSAFE = (*FORMULA_STARTS, "\t", "\r")  # some spreadsheets skip white space before a formula

Row = dict[str, Any]


class Columns:
    """The columns of the predictions.

    path; label, empty if it abstains; confidence and entropy (nats); `abstain`, if a threshold is set;
    reference_label (empty if the reference is uniform) and reference_confidence, if asked for; then p_<class> for every
    class, or label_1, p_1, label_2, ... for the `top_k` most probable ones.
    """

    def __init__(self, classes: tuple[str, ...], top_k: int, abstain_below: float, reference: bool) -> None:
        self.classes, self.abstain_below, self.reference = classes, abstain_below, reference
        self.top_k = min(top_k, len(classes))

    def row(self, line: Line) -> Row:
        """The row of a journal line that has probabilities."""
        prediction = Prediction.of(np.asarray(line["p"]), self.classes)
        sure = prediction.confidence >= self.abstain_below
        row: Row = {
            "path": line["path"],
            "label": prediction.label if sure else "",
            "confidence": prediction.confidence,
            "entropy": round(prediction.entropy, DIGITS),
        }
        if self.abstain_below:
            row["abstain"] = not sure
        if self.reference:
            before = Prediction.of(np.asarray(line["reference"]), self.classes)
            label = "" if before.is_uniform else before.label
            row |= {"reference_label": label, "reference_confidence": before.confidence}
        if self.top_k:
            for place, (name, p) in enumerate(prediction.top(self.top_k), start=1):
                row |= {f"label_{place}": name, f"p_{place}": p}
        else:
            row |= {f"p_{name}": p for name, p in prediction.probabilities.items()}
        return row

    def schema(self) -> pa.Schema:
        """Parquet schema: the columns of `row`, with probabilities as 32-bit floats."""
        kinds = {str: pa.string(), float: pa.float32(), bool: pa.bool_()}
        uniform = [1 / len(self.classes)] * len(self.classes)
        row = self.row({"path": "", "p": uniform, "reference": uniform})
        return pa.schema([(name, kinds[type(value)]) for name, value in row.items()])


def write_csv(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """Write CSV. File names that are not UTF-8 keep their bytes; labels that look like formulas get an apostrophe."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(_cell, columns.schema().names))
        for row in rows:
            writer.writerow(map(_cell, (row | {"path": _file_cell(row["path"])}).values()))


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    return "'" + value if value.startswith(UNSAFE) else value


def _file_cell(path: str) -> str:
    """The path as a cell that no spreadsheet reads as a formula; it still names the same file."""
    return f"./{path}" if path.startswith(UNSAFE) else path


def write_jsonl(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """Write one JSON object per image: probabilities by class, or a list `top`; the label is null if it abstains."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            named: Row = {
                name: row[name] for name in ("path", "label", "confidence", "entropy", "abstain") if name in row
            }
            named |= {"path": _utf8(row["path"]), "label": row["label"] or None}
            if columns.reference:
                named["reference"] = {
                    "label": row["reference_label"] or None,
                    "confidence": row["reference_confidence"],
                }
            if columns.top_k:
                places = range(1, columns.top_k + 1)
                named["top"] = [{"label": row[f"label_{n}"], "probability": row[f"p_{n}"]} for n in places]
            else:
                named["probabilities"] = {name: row[f"p_{name}"] for name in columns.classes}
            file.write(json.dumps(named, ensure_ascii=False) + "\n")


def write_parquet(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """Write Parquet, in groups of ROW_GROUP rows."""
    with pq.ParquetWriter(path, columns.schema()) as writer:
        group: list[Row] = []
        for row in rows:
            group.append(row | {"path": _utf8(row["path"])})
            if len(group) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(group, columns.schema()))
                group.clear()
        writer.write_table(pa.Table.from_pylist(group, columns.schema()))


def _utf8(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


WRITERS: dict[str, Callable[[Path, Iterable[Row], Columns], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
