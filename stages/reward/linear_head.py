"""Linear heads on fixed features, fitted exactly: the weights of the highest posterior, by L-BFGS (docs/method.md 1).

The likelihood of every kind is concave or nearly so in the utilities of a linear head, so that no learning rate, batch size
or number of epochs needs to be chosen. What needs to be chosen is how far the judgments may move the utilities: their
prior standard deviation, in nats. `cross_validation.py` chooses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.config import RewardConfig
from pipeline.data.feature_cache import Features
from pipeline.learning.linear_heads import Scale, exact_optimiser, head_inputs, negative_log_prior
from pipeline.models.known_classes import known_inputs
from pipeline.models.policy import final_linear
from stages.reward.class_balance import ClassBalance
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood
from stages.reward.unlabelled import Targets


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head, relative to the one it started from.

    Attributes:
        weight: [D, C] for centred features of unit root mean square norm; intercept: [C].
        latent: the likelihood's other parameters.
        iterations: evaluations of the likelihood.
    """

    weight: Tensor
    intercept: Tensor
    latent: LikelihoodParameters
    iterations: int


class HeadProblem:
    """The features and initial utilities of all images in question, from which any part of the judgments is fitted.

    Args:
        config: of the likelihood.
        images: [U] row numbers, ascending.
        x: [U, D] features.
        weight, bias: [C, D] and [C] of the initial head, toward which the prior draws.
    """

    def __init__(self, config: RewardConfig, images: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.config, self.images = config, images
        self.start = weight.double(), bias.double()
        x = x.double()
        self.scale = Scale.of(x)
        self.z = self.scale.applied(x)
        self.initial = x @ self.start[0].T + self.start[1]

    @classmethod
    def of_network(cls, config: RewardConfig, network: nn.Module, features: Features, images: Tensor) -> HeadProblem:
        """The head of a network. Where it does not know the classes yet (`reward.start: backbone`), it starts at zero."""
        head = final_linear(network)
        x = head_inputs(features, images)
        knows = config.start == "reference"
        if not knows and (known := known_inputs(network)):
            x[:, -known:] = 0  # the reference's own log-probabilities: the judgments are to be evidence beside it
        return cls(config, images, x, *(p.detach().cpu() * knows for p in (head.weight, head.bias)))

    def utilities(self, head: Head, images: Tensor) -> Tensor:
        """[len(images), C] of some of the images, ascending."""
        at = torch.searchsorted(self.images, images)
        return self.initial[at] + self.z[at] @ head.weight + head.intercept

    def fit(
        self,
        train: JudgmentSet,
        prior_sd: float,
        near: Head | None = None,
        targets: Targets | None = None,
        error_rates: nn.ModuleDict | None = None,
        balance: ClassBalance | None = None,
    ) -> Head:
        """The head of the highest posterior.

        Args:
            train: some of the judgments, possibly repeated.
            prior_sd: standard deviation in nats, before any judgment, of the change of an average image's utilities.
            near: a head to start at, such as that of the next smaller prior_sd.
            targets: what images that nobody judged teach; they are among the problem's.
            error_rates: of people on pages, if they are known; None: they are learned with the head.
            balance: the prior of the classes' shares; its images are among the problem's.
        """
        config, images = self.config, train.images
        taught = torch.searchsorted(self.images, targets.rows) if targets else None
        shared = torch.searchsorted(self.images, balance.rows) if balance else None
        at = torch.searchsorted(self.images, images)
        z, initial = self.z[at], self.initial[at]
        latent = LikelihoodParameters(train, config, assumed=True, error_rates=error_rates).double()
        classes = initial.shape[1]
        weight = near.weight.clone() if near else torch.zeros(z.shape[1], classes, dtype=torch.double)
        intercept = near.intercept.clone() if near else torch.zeros(classes, dtype=torch.double)
        theta = [weight.requires_grad_(), intercept.requires_grad_()]
        trained = [p for p in latent.parameters() if p.requires_grad]
        optimiser = exact_optimiser([*theta, *trained])
        iterations = 0

        def closure() -> Tensor:
            nonlocal iterations
            iterations += 1
            optimiser.zero_grad()
            utilities = initial + z @ weight + intercept
            log_p = log_likelihood(utilities, images, train, latent, smoothing=config.label_smoothing)
            loss = negative_log_prior(weight, intercept, prior_sd) - log_p.sum() - latent.log_prior()
            if targets and taught is not None:
                their = self.initial[taught] + self.z[taught] @ weight + intercept
                loss = loss + targets.cross_entropy(their, targets.rows, targets.rows).sum()
            if balance and shared is not None:
                loss = loss - balance.log_prior(self.initial[shared] + self.z[shared] @ weight + intercept)
            loss.backward()
            return loss

        optimiser.step(closure)
        return Head(weight.detach(), intercept.detach(), latent.requires_grad_(False), iterations)

    def linear(self, head: Head) -> tuple[Tensor, Tensor]:
        """Weight [C, D] and bias [C] of the same utilities, for features as they are."""
        return self.scale.as_layer(self.start, head.weight, head.intercept)
