"""Read and write TRL's preference format: one JSON object per line with prompt, chosen and rejected.

The format has no ties, "can't tell" or per-image judgments: they are counted and left out. Further keys, which TRL's
trainers ignore, let exported files be imported unchanged.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.exchange.common import Names, derived_id, text_of, utc_time, whole_number
from feedback_store.exchange.imported import Entry, Imported, Reject
from feedback_store.exchange.json_text import value_of
from feedback_store.records import Comparison
from feedback_store.schemas import schema_of, schemas_of
from feedback_store.schemas.pair import PairSchema

_EXTRA_KEYS = ("id", "created_at", "annotator", "round", "shown_first", "response_ms", "source")


def write(path: Path, comparisons: pd.DataFrame) -> tuple[int, int]:
    """Write comparisons with a chosen side; returns the numbers of rows written and left out (ties, no answer)."""
    decided = comparisons[comparisons["choice"].isin(("a", "b"))]
    with path.open("w", encoding="utf-8") as file:
        for row in decided.to_dict("records"):
            file.write(json.dumps(_record({str(k): str(v) for k, v in row.items()}), ensure_ascii=False) + "\n")
    return len(decided), len(comparisons) - len(decided)


def _record(row: dict[str, str]) -> dict[str, str]:
    schema = schema_of(row)
    assert isinstance(schema, PairSchema)
    return schema.trl_record(row) | {name: row[name] for name in _EXTRA_KEYS}


def read(path: Path, names: Names, annotator: str = "imported") -> Imported:
    """Comparisons of a JSONL file. A prompt is an exported one, or just an image's id, path or file name."""
    imported = Imported()
    for line, data in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if not data.strip():
            continue
        record: Any = data.decode("utf-8", errors="replace")
        try:
            record = value_of(data.decode("utf-8"))
            if not isinstance(record, dict):
                raise FeedbackError("not an object with prompt, chosen and rejected")
            judgment = _comparison(record, names, annotator)
            has_id, has_time = bool(record.get("id")), bool(record.get("created_at"))
            imported.entries.append(Entry(judgment, line, record, has_id=has_id, has_time=has_time))
        except UnicodeDecodeError:
            imported.rejects.append(Reject(line, "not UTF-8", record))
        except FeedbackError as error:
            imported.rejects.append(Reject(line, str(error), record))
    return imported.resolve_ids()


def _text(record: dict[str, Any], key: str) -> str:
    """A plain string, or the content of the last message of a conversation."""
    value = record.get(key)
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if not isinstance(value, str) or not value.strip():
        raise FeedbackError(f"{key!r} is missing or not text")
    return value.strip()


def _comparison(record: dict[str, Any], names: Names, annotator: str) -> Comparison:
    prompt, chosen, rejected = (_text(record, key) for key in ("prompt", "chosen", "rejected"))
    for schema in schemas_of("pairwise"):
        assert isinstance(schema, PairSchema)
        if shared := schema.read_prompt(prompt):
            won, lost = (schema.read_side(shared, side, names) for side in (chosen, rejected))
            break
    else:
        image = names.image(prompt)
        won, lost = (image, names.label(chosen)), (image, names.label(rejected))
    if won == lost:
        raise FeedbackError("chosen and rejected are the same")
    choice = "b" if record.get("chosen_side") == "b" else "a"
    a, b = (won, lost) if choice == "a" else (lost, won)
    who = text_of("annotator", record.get("annotator"))
    return Comparison(
        id=text_of("id", record.get("id")) or derived_id(prompt, chosen, rejected, record.get("annotator")),
        annotator=who or annotator,
        round=whole_number("round", record.get("round")) or 0,
        image_a=a[0],
        label_a=a[1],
        image_b=b[0],
        label_b=b[1],
        choice=choice,
        shown_first=text_of("shown_first", record.get("shown_first")) or "a",
        response_ms=whole_number("response_ms", record.get("response_ms")),
        source=text_of("source", record.get("source")) or "import",
        **utc_time(record.get("created_at")),
    )
