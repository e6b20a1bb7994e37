"""What a worker of `infer` does: read and decode files, and compute their probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pipeline.config import Config
from pipeline.engines import Site
from pipeline.models.predictor import Predictor
from stages.infer.journal import Line
from stages.infer.prediction_formats import DIGITS
from stages.infer.reader import Reader

NODE = "node"  # key of a line: the machine that did not find the file; never in the journal


class Models(NamedTuple):
    """The aligned policy and, if its predictions are asked for, the reference."""

    policy: Predictor
    reference: Predictor | None

    def on(self, device: torch.device) -> Models:
        """The same models, computing on that device."""
        return Models(self.policy.on(device), self.reference.on(device) if self.reference else None)


@dataclass(frozen=True)
class BuildClassifier:
    """Builds a classifier where it is called; the models travel with it, so that workers need not see their files."""

    models: Models
    config: Config

    def __call__(self, site: Site) -> Classifier:
        return Classifier(self.models.on(site.device), self.config, site.node)


class Classifier:
    """Maps batches of at most `infer.batch_size` files to journal lines, one per file; decodes one batch ahead."""

    def __init__(self, models: Models, config: Config, node: str) -> None:
        self.models, self.node = models, node
        self.size = config.infer.batch_size
        self.reader = Reader(models.policy, config)

    def __call__(self, batches: Iterator[list[Path]]) -> Iterator[list[Line]]:
        for lines, pixels in self.reader.decoded(batches, self.size):
            if len(pixels):
                self._predict([line for line in lines if "bad" not in line], pixels)
            for line in lines:
                if self.node and not line["stamp"]:
                    line[NODE] = self.node
            yield lines

    def close(self) -> None:
        self.reader.close()

    def _predict(self, lines: list[Line], pixels: np.ndarray) -> None:
        """Put the probabilities into the lines of images that could be read."""
        for name, model in (("p", self.models.policy), ("reference", self.models.reference)):
            if model:
                for line, row in zip(lines, model.log_probs(pixels).exp().tolist(), strict=True):
                    line[name] = [round(p, DIGITS) for p in row]
