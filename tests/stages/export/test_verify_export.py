"""The check that compares an export with PyTorch, and what cannot be exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.predictor import Predictor
from pipeline.models.serialization import ModelHeader
from stages.export.graph import Outputs, PredictFunction, trace
from stages.export.verify_export import Sample, check, difference


def answering(sample: Sample, wrong: float = 0.0, at: int | None = None, shape: int = 2) -> PredictFunction:
    """The right answer; `wrong` is added to one probability, in batches of `at` images only if that is given."""

    def answer(pixels: np.ndarray) -> Outputs:
        places = [int(np.flatnonzero((sample.pixels == one).all((1, 2, 3)))[0]) for one in pixels]
        probabilities = sample.probabilities[places].copy()
        logits = np.log(probabilities)
        if at in (None, len(pixels)):
            probabilities[-1, 0] += wrong
        return probabilities[:, :shape], logits

    return answer


def test_the_check_sees_what_is_wrong() -> None:
    """In whichever batch it is, in whichever output, and where it is no number."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    sample = Sample(pixels, np.exp(np.log(random.dirichlet([1, 1], 8))).astype(np.float32))
    assert check("it", answering(sample), sample) < 1e-6
    assert difference(answering(sample, 5e-5), sample) == pytest.approx(5e-5, rel=0.01)
    for bad in (
        answering(sample, 2e-4),
        answering(sample, 2e-4, at=1),
        answering(sample, 2e-4, at=3),
        answering(sample, 2e-4, at=2),
        answering(sample, 2e-4, at=8),
        answering(sample, float("nan")),
        answering(sample, shape=1),
        lambda pixels: (answering(sample)(pixels)[0], answering(sample)(pixels)[0] * 3),
    ):
        with pytest.raises(UserError, match="does not agree"):
            check("it", bad, sample)


def test_what_torch_cannot_trace_is_one_sentence(tmp_path: Path) -> None:
    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))[:, : 2 + int(x.sum() > 1e9)]

    predictor = Predictor(Stubborn(), ModelHeader("policy", "stubborn", ("a", "b"), 8, 8))
    with pytest.raises(UserError, match=r"cannot export stubborn \(.*FORMAT=huggingface needs no graph"):
        trace(predictor)
