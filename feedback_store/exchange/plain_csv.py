"""Any CSV with one judgment a row: our own two files, or another's with `columns` naming which column is what."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.exchange.common import Imported, Names, Reject, derived_id, utc_time
from feedback_store.judgments import COMPARISON_CHOICES, NO_ANSWER, Comparison, Judgment, PerImage
from feedback_store.store import PAIRWISE, PER_IMAGE

OURS = dict.fromkeys((*PAIRWISE, *PER_IMAGE))


def parse_columns(text: str) -> dict[str, str]:
    """`image=filename,answer=label` as a mapping from our names to the file's.

    Raises:
        FeedbackError: not of that form, or not one of our names.
    """
    columns = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = item.partition("=")
        if not equals or ours not in OURS:
            raise FeedbackError(
                f"--columns {item!r}: write our_name=their_name, our names being {', '.join(OURS)}, as in image=filename"
            )
        columns[ours] = theirs
    return columns


def read(path: Path, names: Names, columns: Mapping[str, str] | None = None, annotator: str = "imported") -> Imported:
    """Judgments of a CSV file. A comparison needs `choice`; anything else needs `image` and `answer`.

    Raises:
        FeedbackError: not UTF-8, or a column is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FeedbackError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8 and import it again") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    theirs = {ours: ours for ours in OURS} | dict(columns or {})
    present = {ours for ours, name in theirs.items() if name in (reader.fieldnames or ())}
    _check_columns(path, present, theirs, columns or {}, list(reader.fieldnames or ()))
    found = Imported()
    try:
        for row in reader:
            line = reader.line_num
            record = {ours: (row.get(theirs[ours]) or "").removeprefix("'") for ours in present}
            try:
                if None in row:
                    raise FeedbackError("more cells than the header has")
                found.judgments.append(_judgment(record, names, annotator, path.name, line))
            except FeedbackError as error:
                found.rejects.append(Reject(line, str(error), {k: v for k, v in row.items() if k}))
    except csv.Error as error:
        found.rejects.append(Reject(reader.line_num, f"{error}; nothing below this line could be read", {}))
    return _without_retracted(found)


def _check_columns(
    path: Path, present: set[str], theirs: Mapping[str, str], asked: Mapping[str, str], header: list[str]
) -> None:
    for ours in asked:
        if ours not in present:
            raise FeedbackError(f"{path}, line 1: no column {theirs[ours]!r} among {', '.join(header)}")
    needed = {"label_a", "label_b", "choice"} if "choice" in present else {"image", "answer"}
    if missing := sorted(needed - present):
        raise FeedbackError(
            f"{path}, line 1: no column {', '.join(missing)} among {', '.join(header)}; name it with --columns "
            f"{missing[0]}=their_name"
        )


def _judgment(record: Mapping[str, str], names: Names, annotator: str, file: str, line: int) -> Judgment:
    common: dict[str, Any] = {
        "id": record.get("id") or derived_id(file, line, *sorted(record.items())),
        "annotator": record.get("annotator") or annotator,
        "source": record.get("source") or "import",
        "retracts": record.get("retracts", ""),
        **utc_time(record.get("created_at")),
    }
    for name in ("round", "response_ms"):
        if text := record.get(name, ""):
            if not text.isdecimal():
                raise FeedbackError(f"{name} is {text!r}; it must be a whole number")
            common[name] = int(text)
    if "choice" in record:
        return _comparison(record, names, common)
    question, label = record.get("question") or "label", record.get("label", "")
    answer = record["answer"].strip()
    if question == "label" and answer not in NO_ANSWER:
        answer = names.label(answer)
    if question != "label":
        label = names.label(label)
    return PerImage(image=names.image(record["image"]), question=question, label=label, answer=answer, **common)


def _comparison(record: Mapping[str, str], names: Names, common: dict[str, Any]) -> Comparison:
    images = [record.get(side) or record.get("image", "") for side in ("image_a", "image_b")]
    labels = [names.label(record[side]) for side in ("label_a", "label_b")]
    choice = record["choice"].strip()
    if choice not in COMPARISON_CHOICES and labels[0] != labels[1] and choice in labels:
        choice = "ab"[labels.index(choice)]
    return Comparison(
        image_a=names.image(images[0]), label_a=labels[0], image_b=names.image(images[1]), label_b=labels[1],
        choice=choice, shown_first=record.get("shown_first") or "a", **common,
    )  # fmt: skip


def _without_retracted(found: Imported) -> Imported:
    """Rows that were taken back are not imported, nor the rows that take them back."""
    gone = {judgment.retracts for judgment in found.judgments if judgment.retracts}
    kept = [judgment for judgment in found.judgments if not judgment.retracts and judgment.id not in gone]
    if len(kept) < len(found.judgments):
        found.left_out["rows that were taken back"] += len(gone)
        found.judgments = kept
    return found


def write(path: Path, frame: pd.DataFrame) -> int:
    """Rows as `FeedbackStore` reads them, guarded against formulas as in the store; returns how many."""
    guarded = frame.apply(lambda column: column.str.replace(r"^(?=[=+\-@'])", "'", regex=True))
    guarded.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8")
    return len(frame)
