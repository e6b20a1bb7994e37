"""Write Label Studio's JSON: one task per item, one annotation per judgment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store.records import NO_ANSWER
from feedback_store.schemas import Schema, schemas

Row = dict[str, str]


def write(path: Path, comparisons: pd.DataFrame, per_image: pd.DataFrame, files: Mapping[str, str]) -> list[Path]:
    """Write one file for each kind of judgment, each with its labelling configuration as XML.

    Args:
        path: `judgments.json` becomes `judgments.labels.json` and `judgments.labels.xml`, and so on.
        files: path of each image, which a task shows instead of its id.

    Returns:
        the JSON files written.
    """
    written = []
    for schema in schemas:
        table = comparisons if schema.table == "pairwise" else per_image
        frame = table[schema.select(table)]
        if len(frame):
            target = path.with_name(f"{path.stem}.{schema.name}.json")
            rows = [{str(k): str(v) for k, v in row.items()} for row in frame.to_dict("records")]
            target.write_text(json.dumps(_tasks(schema, rows, files), indent=1, ensure_ascii=False), encoding="utf-8")
            answers = sorted(set(frame[schema.answer_column]) - set(NO_ANSWER))
            target.with_suffix(".xml").write_text(schema.label_studio_config(answers), encoding="utf-8")
            written.append(target)
    return written


def _tasks(schema: Schema, rows: list[Row], files: Mapping[str, str]) -> list[dict[str, Any]]:
    people = {name: number for number, name in enumerate(sorted({row["annotator"] for row in rows}), start=1)}
    tasks: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        data = schema.label_studio_data(row, files)
        task = tasks.setdefault(tuple(data.values()), {"id": len(tasks) + 1, "data": data, "annotations": []})
        task["annotations"].append(_annotation(schema, row, number, people[row["annotator"]], task["id"]))
    return list(tasks.values())


def _annotation(schema: Schema, row: Row, number: int, person: int, task: int) -> dict[str, Any]:
    meta = {name: row[name] for name in ("round", "source", "shown_first") if name in row}
    return {
        "id": number,
        "unique_id": row["id"],
        "task": task,
        "completed_by": {"id": person, "email": f"{row['annotator']}@image-rlhf.invalid"},
        "created_at": row["created_at"],
        "lead_time": int(row["response_ms"]) / 1000 if row["response_ms"] else None,
        "was_cancelled": False,
        "ground_truth": False,
        "result": [{"id": f"r{number}", "meta": meta, "origin": "manual", **schema.label_studio_result(row)}],
    }
