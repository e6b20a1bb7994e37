"""The accuracy of a policy on audited images of a run, from its store (docs/audit.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from feedback_store.audit import audit_images
from feedback_store.records import NO_ANSWER
from feedback_store.store import FeedbackStore
from pipeline.data.gold_labels import GoldLabels
from pipeline.data.labelled import labelled_rows
from pipeline.kinds import kinds
from pipeline.learning.audit_estimate import Audited, People, estimate_accuracy
from pipeline.learning.audit_verdict import verdict
from pipeline.run.workspace import Workspace


@dataclass(frozen=True)
class AuditAnswers:
    """The answers about audited images of a run.

    Attributes:
        people: by row number of the image: of each person, the class numbers they answered, in order.
        gold: right answers and all answers about images whose class is known.
    """

    people: dict[int, People]
    gold: tuple[int, int]

    def of(self, predicted: Tensor, rows: Iterable[int] | None = None) -> list[Audited]:
        """Audited images with a policy's classes [N]; all of them, or those in `rows`."""
        return [Audited(int(predicted[row]), self.people[row]) for row in sorted(self.people if rows is None else rows)]


def audit_answers(ws: Workspace) -> AuditAnswers:
    """All current audit answers of a run."""
    store = ws.run.open_store()
    answers, number = class_answers(store), {name: n for n, name in enumerate(ws.classes)}
    answers = answers[
        answers["image"].map(ws.table.position.__contains__).astype(bool) & answers["answer"].isin(number)
    ]
    known = labelled_rows(ws.run.require("reference", "labelled.csv"), ws.table.position, ws.classes)
    images = {row for image in audit_images(store) if (row := ws.table.position.get(image)) is not None} - known.keys()
    people: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)  # row -> annotator -> answers
    right = asked = 0
    for image, annotator, answer in zip(answers["image"], answers["annotator"], answers["answer"], strict=True):
        row = ws.table.position[image]
        if row in images:
            people[row][annotator] = (*people[row].get(annotator, ()), number[answer])
        elif row in known:
            right, asked = right + (known[row] == number[answer]), asked + 1
    return AuditAnswers({row: tuple(own.values()) for row, own in people.items()}, (right, asked))


def audited_accuracy(ws: Workspace, predicted: Tensor, gold: GoldLabels) -> dict[str, Any] | None:
    """Estimate, verdict and reason for a policy; None without audit answers.

    Args:
        predicted: [N] the policy's class of every image.
        gold: for comparison only: the share of the audited images that the policy classifies rightly, where it is known.
    """
    answers, classes = audit_answers(ws), len(ws.classes)
    if not answers.people:
        return None
    audited = answers.of(predicted)
    estimate = estimate_accuracy(audited, classes, gold=answers.gold)
    short, reason = verdict(estimate, ws.config.collect.audit_width, audited, classes, gold=answers.gold)
    rows = np.array([row for row in answers.people if gold.known[row]], dtype=np.int64)
    return {
        **asdict(estimate),
        "gold_answers": answers.gold[1],
        "verdict": short,
        "reason": reason,
        "gold_accuracy": float((predicted.numpy()[rows] == gold.labels[rows]).mean()) if len(rows) else None,
    }


def class_answers(store: FeedbackStore) -> pd.DataFrame:
    """Current answers that name the class of one image, without `cant_tell` and `bad_image`."""
    frame = store.per_image_judgments()
    naming = [kind for kind in kinds if kind.likelihood.answers_are_classes and kind.schema.table == "per_image"]
    chosen = np.logical_or.reduce([kind.schema.select(frame) for kind in naming])
    return frame[chosen & ~frame["answer"].isin(NO_ANSWER)]
