"""The replay teacher: answers from a CSV file of labels that people recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.teachers import ReplayConfig
from pipeline.data.image_table import ImageTable
from pipeline.data.sources import identity
from pipeline.errors import UserError


@dataclass(frozen=True, eq=False)
class Recorded:
    """V recorded labels, in the file's order.

    Attributes:
        rows: [V] row numbers of the image table.
        labels: [V] class numbers.
        annotators: [V] their annotators; `recorded` where unknown.
    """

    rows: np.ndarray
    labels: np.ndarray
    annotators: np.ndarray

    def entries_for(self, rows: np.ndarray) -> np.ndarray:
        """[Q] for each row asked about, the index of its image's next recorded label; after the last, the first again."""
        entries: dict[int, list[int]] = {}
        for entry, row in enumerate(self.rows.tolist()):
            entries.setdefault(row, []).append(entry)
        asked: dict[int, int] = {}
        chosen = []
        for row in rows.tolist():
            turn = asked[row] = asked.get(row, -1) + 1
            chosen.append(entries[row][turn % len(entries[row])])
        return np.array(chosen, dtype=np.int64)


def _column(frame: pd.DataFrame, column: str, key: str, path: Path) -> pd.Series:
    if column not in frame:
        raise UserError(
            f"{path}, line 1: no column '{column}' among {', '.join(frame.columns)}; set collect.replay.{key}"
        )
    return frame[column].str.strip()


def _image_rows(names: pd.Series, table: ImageTable, root: Path) -> np.ndarray:
    """Row of each image, named by a path relative to root or by id; -1 if it is not in the table.

    Moved files and copies are recognised by their content.
    """
    wanted = set(names.unique())
    same_root = root.resolve() == table.root.resolve()
    by_path = {path: row for row, path in enumerate(table.paths) if path in wanted} if same_root else {}
    rows: dict[str, int] = {}
    for name in names.unique():
        row = table.position.get(name, by_path.get(name, -1))
        if row < 0 and (root / name).is_file():
            row = table.position.get(identity((root / name).read_bytes()), -1)
        rows[name] = row
    return names.map(rows).to_numpy(np.int64)


def read_recorded(config: ReplayConfig, table: ImageTable, classes: tuple[str, ...]) -> Recorded:
    """Read recorded labels of training images.

    Raises:
        UserError: no file, a missing column, an unknown label (with its line), or no label of a training image.
    """
    if config.csv is None:
        raise UserError("collect.replay.csv is missing; set it to the CSV file that the replay teacher reads")
    if not config.csv.is_file():
        raise UserError(f"{config.csv}: no such file; set collect.replay.csv to the CSV file of recorded labels")
    try:
        frame = pd.read_csv(config.csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{config.csv}: not a readable CSV file: {str(error).splitlines()[0]}") from error
    images = _column(frame, config.image_column, "image_column", config.csv)
    labels = _column(frame, config.label_column, "label_column", config.csv)
    numbers = labels.map({name: number for number, name in enumerate(classes)})
    if numbers.isna().any():
        line = int(numbers.isna().argmax())
        raise UserError(
            f"{config.csv}, line {line + 2}: unknown label {labels[line]!r}; the classes are {', '.join(classes)}; correct it or "
            "add it to images.classes"
        )
    rows = _image_rows(images, table, config.root or table.root)
    usable = np.isin(rows, table.rows("train"))
    if config.votes_per_image:
        usable &= (frame.groupby(images).cumcount() < config.votes_per_image).to_numpy()
    if not usable.any():
        raise UserError(
            f"{config.csv}: none of its images is a training image in {table.root}; check collect.replay.root"
        )
    who = _column(frame, config.annotator_column, "annotator_column", config.csv) if config.annotator_column else None
    annotators = np.full(len(frame), "recorded") if who is None else who.replace("", "recorded").to_numpy()
    return Recorded(rows[usable], numbers.to_numpy(np.int64)[usable], annotators[usable])
