"""Classes that are about equally frequent: what unlabelled images say of a reward model that predicts some too often.

The mean prediction over images that nobody judged is the share of each class that a reward model expects. It has a
Dirichlet prior around equal shares (expectation regularisation, Mann and McCallum 2007; distribution alignment in ReMixMatch,
Berthelot et al. 2020). The prior stays as strong while judgments accumulate, so that many of them outweigh it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CONCENTRATION = 10.0  # as if 10 images of each class had been seen; chosen on CIFAR-10, seeds 100 to 109
MAX_IMAGES = 2000  # more would not change the mean by much


@dataclass(frozen=True, eq=False)
class ClassBalance:
    """The prior of the classes' shares.

    Attributes:
        rows: [U] row numbers of the images whose mean prediction counts, ascending.
    """

    rows: Tensor

    @classmethod
    def over(cls, rows: Tensor) -> ClassBalance:
        """Over some images, ascending row numbers. Rows are sorted by a hash of the contents: the first are a random sample."""
        return cls(rows[:MAX_IMAGES])

    def log_prior(self, utilities: Tensor) -> Tensor:
        """Log density of the mean probabilities, up to a constant, in nats.

        Args:
            utilities: [U, C] of `rows`.
        """
        log_share = torch.logsumexp(torch.log_softmax(utilities, -1), 0) - math.log(len(utilities))
        return CONCENTRATION * log_share.sum()
