"""Log-likelihoods of judgments under utilities r(x, a): one small pure function a kind (METHOD 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

A, B, TIE = 0, 1, 2


def bradley_terry(r_a: Tensor, r_b: Tensor, choice: Tensor) -> Tensor:
    """log P of each choice, [M], with P(A) = sigma(r_A - r_B) (Bradley and Terry 1952).

    Args:
        r_a, r_b: [M] utilities of the two sides.
        choice: [M] 0 for A, 1 for B.
    """
    difference = r_a - r_b
    return logsigmoid(torch.where(choice == A, difference, -difference))


def davidson(r_a: Tensor, r_b: Tensor, choice: Tensor, log_nu: Tensor) -> Tensor:
    """log P of each choice, [M], with ties (Davidson 1970).

    P(A), P(B) and P(tie) are proportional to e^{r_A}, e^{r_B} and nu e^{(r_A + r_B) / 2}.

    Args:
        choice: [M] 0 for A, 1 for B, 2 for a tie.
        log_nu: scalar; -inf makes it Bradley-Terry.
    """
    half = (r_a - r_b) / 2  # relative to the mean of both utilities, so that large ones cancel exactly
    log_p = torch.log_softmax(torch.stack([half, -half, log_nu.expand_as(half)], dim=-1), dim=-1)
    return log_p.gather(-1, choice[:, None])[:, 0]


def label_choice(utilities: Tensor, answer: Tensor, smoothing: float = 0.0) -> Tensor:
    """log P of each answered class, [M], with P(a) = softmax_a r(x, .) (Luce 1959).

    Args:
        utilities: [M, C].
        answer: [M] class numbers.
        smoothing: probability with which the answer is taken for one drawn evenly from all classes.
    """
    log_p = torch.log_softmax(utilities, dim=-1)
    chosen = log_p.gather(-1, answer[:, None])[:, 0]
    return chosen if smoothing == 0 else (1 - smoothing) * chosen + smoothing * log_p.mean(-1)
