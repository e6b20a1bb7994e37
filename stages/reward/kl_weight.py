"""Choose beta, the weight of the KL penalty, from judgments that the reward model was not trained on (docs/method.md 3).

The optimum pi_ref^a e^{u / beta} is known in closed form for every beta and every weight a of the reference, so that each
candidate is scored by the likelihood it gives those judgments: from one that ignores the judgments (a = 1, a large beta)
to one that ignores the reference (a = 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood

BETAS = tuple(2.0 ** (half / 2) for half in range(-10, 11))  # 1/32 to 32, at equal ratios
COARSE_BETAS = tuple(2.0**power for power in range(-3, 4))
PRIOR_WEIGHTS = (1.0, 0.75, 0.5, 0.25, 0.0)
# Priors, as standard deviations: Bayes' rule unless the judgments say otherwise. Chosen on ants and bees, seeds
# 100 to 139, and digits, seed 0 (docs/choosing-beta.md).
LOG_BETA_SD = 0.5  # of log beta around 0
WEIGHT_SD = 0.25  # of how often the reference is counted, around 1
STEPS = 30  # of L-BFGS, for the likelihood's few parameters; each candidate starts at those of the one before


@dataclass(frozen=True, eq=False)
class Evidence:
    """Judgments with rewards that were not trained on them.

    Attributes:
        judgments: M judgments.
        log_ref, utility: [N, C] of all images; used are those of `judgments.images`.
        folds: number of networks that were trained for it; 0 if it is the held-out split of the reward model's own training.
        share: how many times log_ref is in the utilities already; 0 if they were not trained from the reference.
    """

    judgments: JudgmentSet
    log_ref: Tensor
    utility: Tensor
    folds: int
    share: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """A weight of the reference and a beta.

    Attributes:
        loss: [M] -log P of each judgment, in nats.
        score: their sum, less the log density of both priors; the lowest is chosen.
    """

    prior_weight: float
    beta: float
    loss: Tensor
    score: float


def choose(
    evidence: Evidence, config: RewardConfig, accuracy: Callable[[float, float], float | None] | None = None
) -> dict[str, Any]:
    """The chosen beta and weight of the reference, and the table of candidates, as the card has them.

    The judgments count with their summed log-likelihood, and both numbers have a normal prior around Bayes' rule, so that
    few judgments keep them near it and many decide alone.

    Args:
        accuracy: of a weight of the reference and a beta on gold labels, for the table; it does not take part in the choice.
    """
    scorer = Scorer(evidence, config)
    weight_at = min(
        _prior_weights(evidence), key=lambda at: min(scorer.score(at(beta), beta).score for beta in COARSE_BETAS)
    )
    table = [scorer.score(weight_at(beta), beta) for beta in BETAS]
    best = min(table, key=lambda one: one.score)
    reference = scorer.loss(scorer.log_ref.double())
    gain = reference - best.loss  # nats by which the chosen policy predicts each judgment better than the reference
    chosen = {
        "beta": best.beta,
        "prior_weight": best.prior_weight,
        "share": evidence.share,
        "judgments": len(evidence.judgments),
        "folds": evidence.folds,
        "reference_log_loss": float(reference.mean()),
        "log_loss": float(best.loss.mean()),
        "gain": float(gain.mean()),
        "gain_error": standard_error(gain),
        "table": [
            {
                "beta": one.beta,
                "prior_weight": one.prior_weight,
                "log_loss": float(one.loss.mean()),
                "difference_error": standard_error(one.loss - best.loss),
                "score": one.score / len(evidence.judgments),
                "accuracy": accuracy(one.prior_weight, one.beta) if accuracy else None,
            }
            for one in table
        ],
    }
    return chosen | {"sentence": sentence(chosen)}


def _prior_weights(evidence: Evidence) -> list[Callable[[float], float]]:
    """The weights of the reference that are tried, each as a function of beta.

    Only answers that choose among all classes can tell that the reference is too sure of itself. A comparison of two
    classes says nothing of the others, about which the reference keeps its say: it counts once, with what is in u.
    """
    kinds = {number for number, _, _ in evidence.judgments.by_likelihood()}
    if all(evidence.judgments.likelihoods[number].answers_are_classes for number in kinds):
        return [partial(_constant, weight) for weight in PRIOR_WEIGHTS]
    return [lambda beta: max(0.0, 1 - evidence.share / beta)]


def _constant(weight: float, beta: float) -> float:
    return weight


class Scorer:
    """Scores candidates on the same judgments."""

    def __init__(self, evidence: Evidence, config: RewardConfig) -> None:
        self.evidence = evidence
        images = evidence.judgments.images
        self.log_ref, self.utility = evidence.log_ref[images], evidence.utility[images]
        self.parameters = LikelihoodParameters(evidence.judgments, config, mistakes=True).double()

    def score(self, prior_weight: float, beta: float) -> Candidate:
        """One candidate."""
        log_pi = prior_weight * self.log_ref.double()
        log_pi += self.utility.double() / beta  # in place: with a thousand classes each of these is large
        log_pi = torch.log_softmax(log_pi, -1)
        counted = prior_weight + self.evidence.share / beta  # how often log_ref is in log_pi
        loss = self.loss(log_pi)
        prior = (math.log(beta) / LOG_BETA_SD) ** 2 / 2 + ((counted - 1) / WEIGHT_SD) ** 2 / 2
        return Candidate(prior_weight, beta, loss, float(loss.sum()) + prior)

    def loss(self, log_pi: Tensor) -> Tensor:
        """-log P of every judgment [M] under a policy [U, C] of the judged images."""
        return log_loss(log_pi, self.evidence.judgments, self.parameters)


def sentence(chosen: dict[str, Any]) -> str:
    """What the judgments added to the reference."""
    before, after = chosen["reference_log_loss"], chosen["log_loss"]
    figures = f"{before:.3f} nats per judgment by the reference alone, {after:.3f} with the judgments at beta {chosen['beta']:.3g}"
    if weight := chosen["prior_weight"]:
        figures += f"; the reference itself counts {weight:.2g} times" if weight < 1 else ""
    else:
        figures += "; the reference adds nothing to these, and does not count"
    if chosen["gain"] > 2 * chosen["gain_error"]:
        return f"the judgments add to what the reference knows: the log loss of held-out answers is {figures}"
    return f"no gain over the reference is measurable yet: the log loss of held-out answers is {figures}"


def standard_error(values: Tensor) -> float:
    """Of the mean of values [M]; 0 for a single one."""
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else 0.0


def log_loss(log_pi: Tensor, judgments: JudgmentSet, parameters: LikelihoodParameters) -> Tensor:
    """-log P of every judgment [M], in nats, with the policy's log-probabilities as utilities.

    The likelihood's own parameters (ties, thresholds, and how often each annotator answers at random) are fitted to
    these judgments for each policy: without an annotator's mistakes, a policy that is rightly sure would pay for them.

    Args:
        log_pi: [U, C] of `judgments.images`.
        parameters: where the fit starts; changed in place.
    """
    images = judgments.images
    trained = [p for p in parameters.parameters() if p.requires_grad]
    optimiser = torch.optim.LBFGS(trained, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -log_likelihood(log_pi, images, judgments, parameters).sum() - parameters.log_prior()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        order = torch.argsort(judgments.kind, stable=True)  # log_likelihood groups judgments by likelihood
        loss = torch.empty(len(judgments), dtype=log_pi.dtype)
        loss[order] = -log_likelihood(log_pi, images, judgments, parameters)
    return loss
