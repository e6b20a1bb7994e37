"""Calibration of the reference: temperature scaling on held-out folds of its labelled images (docs/method.md 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.data.score_tables import score
from pipeline.learning.statistics import fit_temperature
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reference.training import fit_labels, initial_network


def calibration_temperature(ws: Workspace, rows: Tensor, labels: Tensor) -> float:
    """Temperature fitted on held-out folds of the labelled images; 1 with fewer than two folds."""
    folds = min(ws.config.reference.calibration_folds, int(labels.bincount().min()) if len(labels) else 0)
    if folds < 2:
        return 1.0
    order = torch.argsort(torch.rand(len(rows), generator=generator(ws.config.seed, Stream.CALIBRATION_FOLDS)))
    order = order[torch.argsort(labels[order], stable=True)]  # so that the folds are stratified by class
    logits = torch.zeros(len(rows), len(ws.classes))
    for fold in range(folds):
        held = torch.zeros(len(rows), dtype=torch.bool)
        held[order[fold::folds]] = True
        pieces, features = initial_network(ws)
        fit_labels(ws, pieces, features, rows=rows[~held], labels=labels[~held], metrics=Metrics(None))
        logits[held] = score(pieces.suffix, features, rows[held])
    return fit_temperature(logits, labels)
