"""Writing Label Studio's JSON: one task an item, one annotation a judgment, so that both sides keep every answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.exchange.label_studio_config import IMAGES_CONFIG, LABELS_CONFIG, per_image_config
from feedback_store.records import NO_ANSWER, VERDICTS

Row = dict[str, str]


def write(path: Path, comparisons: pd.DataFrame, per_image: pd.DataFrame, files: Mapping[str, str]) -> list[Path]:
    """Write up to five files, one for each labelling configuration, beside its configuration as XML.

    Args:
        path: `judgments.json` becomes `judgments.labels.json` and `judgments.labels.xml`, and so on.
        files: path of each image, which a task shows beside its id.

    Returns:
        the JSON files written.
    """
    same = comparisons["image_a"] == comparisons["image_b"]
    groups = [
        ("comparison", comparisons[same], LABELS_CONFIG),
        ("image_comparison", comparisons[~same], IMAGES_CONFIG),
    ]
    for question in ("label", "verdict", "rating"):
        chosen = per_image[per_image["question"] == question]
        given = sorted(set(chosen["answer"]) - set(NO_ANSWER)) if question == "label" else []
        answers = [*(VERDICTS if question == "verdict" else given), *NO_ANSWER]
        groups.append((question, chosen, per_image_config(question, answers)))
    written = []
    for kind, frame, config in groups:
        if len(frame):
            target = path.with_name(f"{path.stem}.{kind}.json")
            rows = [{str(k): str(v) for k, v in row.items()} for row in frame.to_dict("records")]
            target.write_text(json.dumps(_tasks(kind, rows, files), indent=1, ensure_ascii=False), encoding="utf-8")
            target.with_suffix(".xml").write_text(config, encoding="utf-8")
            written.append(target)
    return written


def _tasks(kind: str, rows: list[Row], files: Mapping[str, str]) -> list[dict[str, Any]]:
    people = {name: number for number, name in enumerate(sorted({row["annotator"] for row in rows}), start=1)}
    tasks: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        data = _data(kind, row, files)
        task = tasks.setdefault(tuple(data.values()), {"id": len(tasks) + 1, "data": data, "annotations": []})
        task["annotations"].append(_annotation(kind, row, number, people[row["annotator"]], task["id"]))
    return list(tasks.values())


def _data(kind: str, row: Row, files: Mapping[str, str]) -> dict[str, str]:
    def shown(image: str) -> str:
        return files.get(image, image)

    if kind == "comparison":
        return {"image": shown(row["image_a"]), "label_a": row["label_a"], "label_b": row["label_b"]}
    if kind == "image_comparison":
        if row["label_a"] != row["label_b"]:
            raise FeedbackError(f"judgment {row['id']} compares two images under two labels, which one task cannot say")
        return {"image_a": shown(row["image_a"]), "image_b": shown(row["image_b"]), "label": row["label_a"]}
    return {"image": shown(row["image"]), **({"label": row["label"]} if kind != "label" else {})}


def _annotation(kind: str, row: Row, number: int, person: int, task: int) -> dict[str, Any]:
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
        "result": [{"id": f"r{number}", "meta": meta, "origin": "manual", **_result(kind, row)}],
    }


def _result(kind: str, row: Row) -> dict[str, Any]:
    if kind in ("comparison", "image_comparison"):
        if row["choice"] in ("a", "b"):
            selected = {"selected": "left" if row["choice"] == "a" else "right"}
            # Label Studio itself writes the control's own name, which its SDK's validator refuses; it reads either.
            first = "label_a" if kind == "comparison" else "image_a"
            return {"from_name": "better", "to_name": first, "type": "pairwise", "value": selected}
        about = "image" if kind == "comparison" else "label"
        return {"from_name": "otherwise", "to_name": about, "type": "choices", "value": {"choices": [row["choice"]]}}
    if kind == "rating" and row["answer"] not in NO_ANSWER:
        return {"from_name": "rating", "to_name": "image", "type": "rating", "value": {"rating": int(row["answer"])}}
    return {"from_name": f"{kind}_choice", "to_name": "image", "type": "choices", "value": {"choices": [row["answer"]]}}
