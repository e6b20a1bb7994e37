"""What the answers have achieved, for the pages of people who answer: estimated accuracy over rounds, and what more brings.

Everything is estimated from audit answers (docs/audit.md, docs/live.md); no gold label is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.learning.audit_estimate import estimate_accuracy
from pipeline.learning.audit_verdict import verdict
from pipeline.learning.audited_accuracy import AuditAnswers, audit_answers
from pipeline.learning.learning_curve import forecast_gain
from pipeline.run.workspace import Workspace
from stages.rounds.advice import advice

MINUTE = 60.0
MAX_CLASSES = 200  # rows of the table by class


def achieved(ws: Workspace, rows: Sequence[Mapping[str, Any]], predictions: Sequence[Tensor]) -> dict[str, Any]:
    """The content of progress.json besides the worker's state.

    Args:
        rows: of rounds.csv.
        predictions: [N] each round's class of every image.
    """
    simulated = [row["simulated_seconds"] or 0.0 for row in rows]
    spent = [of_these + (row["seconds"] or 0.0) for row, of_these in zip(rows, simulated, strict=True)]
    curve: list[dict[str, Any]] = [
        {"round": row["round"], "answers": row["answers"], "seconds": round(all_of_them, 1), "simulated": of_these}
        for row, all_of_them, of_these in zip(rows, spent, simulated, strict=True)
    ]
    answers, classes = audit_answers(ws), len(ws.classes)
    result: dict[str, Any] = {"rounds": curve, "reference": None, "estimate": None, "forecast": None, "classes": []}
    result["audit_fraction"] = ws.config.collect.audit_fraction
    if answers.people:
        policies = [ws.log_reference.argmax(-1), *predictions]
        estimates = [estimate_accuracy(answers.of(one), classes, gold=answers.gold) for one in policies]
        for point, estimate in zip(curve, estimates[1:], strict=True):
            point |= {"accuracy": estimate.accuracy, "low": estimate.low, "high": estimate.high}
        newest, audited = estimates[-1], answers.of(policies[-1])
        short, reason = verdict(newest, ws.config.collect.audit_width, audited, classes, gold=answers.gold)
        result["reference"] = {key: getattr(estimates[0], key) for key in ("accuracy", "low", "high")}
        if rows:
            result["estimate"] = {**asdict(newest), "verdict": short, "reason": reason}
            result["classes"] = by_class(ws, answers, policies[-1])
            agree = agreement(answers, policies)
            forecasts = {
                name: forecast_gain(
                    [0.0, *spent], agree, ahead, classes=classes, error=newest.error, seed=ws.config.seed
                )
                for name, ahead in (("minute", MINUTE), ("ten_minutes", 10 * MINUTE))
            }
            result["forecast"] = {name: asdict(gain) for name, gain in forecasts.items() if gain} or None
    return result | advice(result, ws.config.live.min_gain)


def agreement(answers: AuditAnswers, policies: Sequence[Tensor]) -> np.ndarray:
    """[n, K] share of the answers about each audited image that agree with each policy's class [N]."""
    rows = sorted(answers.people)
    given = [[answer for own in answers.people[row] for answer in own] for row in rows]
    table = [
        [np.mean([answer == int(one[row]) for answer in own]) for one in policies]
        for row, own in zip(rows, given, strict=True)
    ]
    return np.array(table, dtype=float)


def by_class(ws: Workspace, answers: AuditAnswers, predicted: Tensor) -> list[dict[str, Any]]:
    """For each class: its share of the policy's predictions, and what audit answers say where it is predicted.

    `named` is the share of the audit answers that name the class. The accuracy where a class is predicted is estimated
    from these images alone, so that its interval is wide.
    """
    train = predicted[ws.rows("train")]
    given = [answer for people in answers.people.values() for own in people for answer in own]
    table = []
    for number, name in enumerate(ws.classes[:MAX_CLASSES]):
        rows = [row for row in answers.people if int(predicted[row]) == number]
        entry: dict[str, Any] = {
            "name": name,
            "predicted": float((train == number).double().mean()),
            "named": given.count(number) / len(given),
            "audited": len(rows),
        }
        if rows:
            estimate = estimate_accuracy(answers.of(predicted, rows), len(ws.classes), gold=answers.gold)
            entry |= {"accuracy": estimate.accuracy, "low": estimate.low, "high": estimate.high}
        table.append(entry)
    return table
