"""Choose beta, the weight of the KL penalty, from judgments that the reward model was not trained on (docs/method.md 3).

pi*_beta, proportional to pi_ref e^{r / beta}, is known in closed form for every beta, so that each candidate is scored
by the likelihood it gives those judgments: from a beta that ignores the judgments to one that ignores the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from pipeline.learning.objective import log_optimal_policy
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood

BETAS = tuple(2.0 ** (half / 2) for half in range(-10, 11))  # 1/32 to 32, at equal ratios
PRIOR_SD = 1.0  # of log beta around 0: Bayes' rule, beta = 1, unless the judgments say otherwise
STEPS = 30  # of L-BFGS, for the likelihood's few parameters


@dataclass(frozen=True, eq=False)
class Evidence:
    """Judgments with rewards that were not trained on them.

    Attributes:
        judgments: M judgments.
        log_ref, reward: [N, C] of all images; used are those of `judgments.images`.
        folds: number of networks that were trained for it; 0 if it is the held-out split of the reward model's own training.
    """

    judgments: JudgmentSet
    log_ref: Tensor
    reward: Tensor
    folds: int


def choose(
    evidence: Evidence, config: RewardConfig, accuracy: Callable[[Tensor], float | None] | None = None
) -> dict[str, Any]:
    """The table of candidates and the chosen beta, as the card has it.

    The judgments count with their summed log-likelihood, and log beta has a normal prior around 0, so that few judgments
    keep beta near 1 and many decide alone.

    Args:
        accuracy: of log-probabilities [N, C] on gold labels, for the table; it does not take part in the choice.
    """
    images = evidence.judgments.images
    log_ref, reward = evidence.log_ref.double(), evidence.reward.double()
    rows = []
    for beta in BETAS:
        log_pi = log_optimal_policy(log_ref, reward, beta)
        loss = log_loss(log_pi[images], evidence.judgments, config)
        score = float(loss.sum()) + math.log(beta) ** 2 / (2 * PRIOR_SD**2)
        rows.append((beta, loss, score, accuracy(log_pi) if accuracy else None))
    best = min(rows, key=lambda row: row[2])
    reference = log_loss(log_ref[images], evidence.judgments, config)
    gain = reference - best[1]  # nats by which the chosen policy predicts each judgment better than the reference
    chosen = {
        "beta": best[0],
        "judgments": len(evidence.judgments),
        "folds": evidence.folds,
        "reference_log_loss": float(reference.mean()),
        "log_loss": float(best[1].mean()),
        "gain": float(gain.mean()),
        "gain_error": standard_error(gain),
        "table": [
            {
                "beta": beta,
                "log_loss": float(loss.mean()),
                "difference_error": standard_error(loss - best[1]),
                "score": score / len(evidence.judgments),
                "accuracy": gold,
            }
            for beta, loss, score, gold in rows
        ],
    }
    return chosen | {"sentence": sentence(chosen)}


def sentence(chosen: dict[str, Any]) -> str:
    """What the judgments added to the reference."""
    before, after = chosen["reference_log_loss"], chosen["log_loss"]
    figures = f"{before:.3f} nats per judgment by the reference alone, {after:.3f} with the judgments at beta {chosen['beta']:.3g}"
    if chosen["gain"] > 2 * chosen["gain_error"]:
        return f"the judgments add to what the reference knows: the log loss of held-out answers is {figures}"
    return f"no gain over the reference is measurable yet: the log loss of held-out answers is {figures}"


def standard_error(values: Tensor) -> float:
    """Of the mean of values [M]; 0 for a single one."""
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else 0.0


def log_loss(log_pi: Tensor, judgments: JudgmentSet, config: RewardConfig) -> Tensor:
    """-log P of every judgment [M], in nats, with the policy's log-probabilities as utilities.

    The likelihood's own parameters (ties, thresholds, and how often each annotator answers at random) are fitted to
    these judgments for each policy: without an annotator's mistakes, a policy that is rightly sure would pay for them.

    Args:
        log_pi: [U, C] of `judgments.images`.
    """
    parameters = LikelihoodParameters(judgments, config, mistakes=True).double()
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
