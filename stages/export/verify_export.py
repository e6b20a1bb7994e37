"""Compare an export with the policy it was made from, on real images, before it is published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.models.predictor import Predictor
from pipeline.run.workspace import Workspace
from stages.export.graph import PredictFunction

TOLERANCE = 1e-4  # largest difference of a probability
MAX_IMAGES = 64
BATCH_SIZES = (1, 3)  # besides all at once: a graph may have the batch size of its tracing as a constant


@dataclass(frozen=True, eq=False)
class Sample:
    """Real images and the policy's predictions.

    Attributes:
        pixels: uint8 [n, size, size, 3].
        probabilities: [n, C].
    """

    pixels: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(cls, ws: Workspace, predictor: Predictor) -> Sample:
        """Up to 64 evenly spaced evaluation images of the run."""
        rows = ws.rows("evaluation")
        rows = rows[torch.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).round().long()]
        pixels = ws.pixels.batch(rows).numpy()
        return cls(pixels, predictor.log_probs(pixels).exp().numpy())


def difference(answer: PredictFunction, sample: Sample) -> float:
    """The largest difference of any probability, over batches of 1, of 3, and of all images; NaN if one is NaN."""
    worst = [0.0]
    for size in (*BATCH_SIZES, len(sample.pixels)):
        for first in range(0, len(sample.pixels), size):
            expected = sample.probabilities[first : first + size]
            probabilities, logits = answer(sample.pixels[first : first + size])
            if probabilities.shape != expected.shape or logits.shape != expected.shape:
                return float("inf")
            from_logits = torch.from_numpy(logits).double().softmax(-1).numpy()
            worst += [float(np.abs(actual - expected).max()) for actual in (probabilities, from_logits)]
    return float(np.max(worst))


def check(what: str, answer: PredictFunction, sample: Sample) -> float:
    """Check that the export agrees with PyTorch; returns the `difference`.

    Raises:
        UserError: the difference is too large.
    """
    largest = difference(answer, sample)
    if not largest <= TOLERANCE:
        raise UserError(
            f"{what} does not agree with PyTorch: on {len(sample.pixels)} evaluation images a probability differs by up to "
            f"{largest:.2g}, more than {TOLERANCE:g}; nothing was exported, choose another FORMAT"
        )
    return largest
