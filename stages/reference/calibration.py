"""Calibration of the reference: temperature scaling on held-out folds of its labelled images (docs/method.md 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.data.score_tables import score
from pipeline.learning.statistics import fit_temperature
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reference.folds import label_folds
from stages.reference.training import fit_labels, initial_network


def calibration_temperature(ws: Workspace, rows: Tensor, labels: Tensor) -> float:
    """Temperature fitted on held-out folds of the labelled images; 1 with fewer than two folds."""
    logits = torch.zeros(len(rows), len(ws.classes))
    folds = list(label_folds(ws, labels))
    for held in folds:
        pieces, features = initial_network(ws)
        fit_labels(ws, pieces, features, rows=rows[~held], labels=labels[~held], metrics=Metrics(None))
        logits[held] = score(pieces.suffix, features, rows[held])
    return fit_temperature(logits, labels) if folds else 1.0
