"""Folds of the labelled images, which decide how sure the reference is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace


def label_folds(ws: Workspace, labels: Tensor) -> Iterator[Tensor]:
    """Which of the images with classes `labels` [n] each fold holds out: bool [n], stratified by class.

    There are `reference.calibration_folds`, but not more than a class has images; none if that leaves fewer than two.
    """
    folds = min(ws.config.reference.calibration_folds, int(labels.bincount().min()) if len(labels) else 0)
    if folds < 2:
        return
    order = torch.argsort(torch.rand(len(labels), generator=generator(ws.config.seed, Stream.CALIBRATION_FOLDS)))
    order = order[torch.argsort(labels[order], stable=True)]  # so that the folds are stratified by class
    for fold in range(folds):
        held = torch.zeros(len(labels), dtype=torch.bool)
        held[order[fold::folds]] = True
        yield held
