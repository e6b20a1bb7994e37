"""All results of one run, read from its stages' files; nothing is trained or scored again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import dump_config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.models.policy import log_policy
from pipeline.run.estimate_file import read_estimate
from pipeline.run.rounds_file import read_rounds
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Row
from stages.report.judgment_summary import summarise_judgments
from stages.report.lineage import by_people, finished, lineage
from stages.report.predictions import compare_predictions
from stages.report.reproduce import commands

Figures = dict[str, Any]


def figures(ws: Workspace) -> Figures:
    """The content of the report except pictures, as saved in report.json.

    Raises:
        UserError: there is no reference yet, or a model was made for other classes.
    """
    gold = read_gold_labels(ws.table, ws.classes)
    before = ws.log_reference
    after, has_policy = None, finished(ws.run.stage("ppo"))
    if has_policy:
        after = log_policy(ws.scores(*ws.cut(ws.load_policy(ws.run.require("ppo", "model.safetensors")))))
    rows = ws.table.rows("evaluation")
    report = {
        "name": ws.config.name,
        "seed": ws.config.seed,
        "classes": list(ws.classes),
        "evaluation": "test" if (ws.table.splits == "test").any() else "val",
        "predictions": compare_predictions(ws.table, gold, before, after, rows=rows),
        "judged": summarise_judgments(ws.run.open_store(), gold.by_image(ws.table.ids), len(ws.classes)),
        "rounds": read_rounds(ws.run.path),
        "reference": ws.run.read("reference", "result.json", "reference")["reference"],
        "card": _read_if_finished(ws, "reward", "card.json"),
        "ppo": _ppo(ws) if has_policy else None,
        "compare": comparison(ws.run.path / "compare" / "compare.md"),
        "lineage": lineage(ws),
        "config": dump_config(ws.config),
        "commands": commands(ws),
        "by_people": by_people(ws),
    }
    plain: Figures = _plain(report)
    return plain


def _read_if_finished(ws: Workspace, stage: str, file: str) -> Any:
    return ws.run.read(stage, file) if finished(ws.run.stage(stage)) else None


def _ppo(ws: Workspace) -> dict[str, Any]:
    """PPO's result, and its metrics by iteration."""
    return {
        "result": ws.run.read("ppo", "result.json", "policy")["policy"],
        "estimate": read_estimate(ws.run.path),
        "rows": metrics(ws.run.require("ppo", "metrics.csv")),
        "settings": ws.config.ppo.model_dump(mode="json"),
    }


def metrics(path: Path) -> list[Row]:
    """Rows of a metrics.csv, without empty, NaN and infinite cells."""
    frame = pd.read_csv(path)
    return [{str(k): float(v) for k, v in row.items() if np.isfinite(v)} for row in frame.to_dict("records")]


def comparison(path: Path) -> dict[str, Any] | None:
    """The table that `make compare` wrote: description, cells and conclusion; None if there is none."""
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    text = [line for line in lines if line and not line.startswith("|")]
    if len(table) < 3 or not text:
        return None
    return {"about": text[0], "heads": table[0], "rows": table[2:], "verdict": " ".join(text[1:])}


def _plain(value: Any) -> Any:
    """The value with NumPy numbers as Python's, and None for NaN and Inf, which JSON does not have."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
