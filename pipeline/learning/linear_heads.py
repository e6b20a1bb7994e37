"""Linear heads on fixed features, fitted exactly: the weights of the highest posterior (docs/method.md 1).

Weights and intercepts are those of the change from an initial head, for features that are centred and of unit root mean
square norm, so that the prior's standard deviation is one of an average image's utilities, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.feature_cache import BATCH, Features

INTERCEPT_SD = 3.0  # prior standard deviation, in nats, of what all images have in common
PRIOR_SDS = (0.3, 0.5, 1.0, 1.7, 3.0, 5.0, 10.0)  # candidates for that of the rest, in nats
# Prior of its logarithm, in units of a standard deviation: few answers cannot tell the candidates apart. Chosen on ants
# and bees, seeds 116 to 139 (docs/choosing-beta.md).
USUAL_SD, LOG_SD_WIDTH = 1.8, 0.5
STEPS = 200  # of L-BFGS; a warm start takes about ten
MAX_SIZE = 5e7  # images x features x classes that are fitted in seconds on two cores, 40 times


@dataclass(frozen=True, eq=False)
class Scale:
    """The centre [D] of features, and the root mean square of their distance to it."""

    mean: Tensor
    norm: float

    @classmethod
    def of(cls, x: Tensor) -> Scale:
        """Of features [n, D], double."""
        mean = x.mean(0)
        return cls(mean, float((x - mean).square().sum(1).mean().sqrt()) or 1.0)

    def applied(self, x: Tensor) -> Tensor:
        """Features [n, D] centred and scaled."""
        return (x - self.mean) / self.norm

    def as_layer(self, start: tuple[Tensor, Tensor], weight: Tensor, intercept: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [C, D] and bias [C] of the changed head, for features as they are.

        Args:
            start: weight [C, D] and bias [C] of the initial head.
            weight: [D, C] change for scaled features; intercept: [C].
        """
        change = weight.T / self.norm
        return start[0] + change, start[1] + intercept - change @ self.mean


def solvable(features: Features, images: Tensor, classes: int) -> bool:
    """Whether only a linear head is trained, on few enough features of `images` [U] that an exact fit takes seconds."""
    if features.prefix is None or not features.linear:
        return False
    return len(images) * features.batch(images[:1]).shape[-1] * classes <= MAX_SIZE


def head_inputs(features: Features, rows: Tensor) -> Tensor:
    """Features [n, D] of images, double, on the CPU; all processes must call it, and each computes a share."""

    def own(part: Tensor) -> Tensor:
        return torch.cat([features.batch(rows[few]).cpu() for few in part.split(BATCH)])

    return features.runtime.divided(len(rows), own).double()


def negative_log_prior(weight: Tensor, intercept: Tensor, prior_sd: float) -> Tensor:
    """-log density, up to a constant, of the change of a head: weight [D, C] and intercept [C]."""
    return (weight.square().sum() / prior_sd**2 + intercept.square().sum() / INTERCEPT_SD**2) / 2


def exact_optimiser(parameters: Sequence[Tensor]) -> torch.optim.LBFGS:
    """L-BFGS, which finds the highest posterior in one call of `step`."""
    return torch.optim.LBFGS(parameters, max_iter=STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe")


def penalty_of_prior_sd(prior_sd: float) -> float:
    """-log density, up to a constant, of a prior standard deviation, which is added to the loss of held-out answers."""
    return (math.log(prior_sd / USUAL_SD) / LOG_SD_WIDTH) ** 2 / 2


@torch.enable_grad()
def fit_labels_exactly(z: Tensor, initial: Tensor, labels: Tensor, prior_sd: float) -> tuple[Tensor, Tensor]:
    """Change of a head, weight [D, C] and intercept [C], from images whose classes are known: softmax regression.

    Args:
        z: [n, D] scaled features, double.
        initial: [n, C] utilities of the initial head.
        labels: [n] class numbers.
    """
    weight = z.new_zeros(z.shape[1], initial.shape[1]).requires_grad_()
    intercept = z.new_zeros(initial.shape[1]).requires_grad_()
    optimiser = exact_optimiser([weight, intercept])

    def closure() -> Tensor:
        optimiser.zero_grad()
        utilities = initial + z @ weight + intercept
        loss = torch.nn.functional.cross_entropy(utilities, labels, reduction="sum")
        loss = loss + negative_log_prior(weight, intercept, prior_sd)
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach(), intercept.detach()
