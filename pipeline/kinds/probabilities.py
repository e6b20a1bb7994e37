"""Probabilities of answers under utilities r(x, a): one pure function per kind (METHOD 1).

Each returns log P of every possible answer; training, accuracy and calibration all use it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

A, B, TIE = 0, 1, 2
NO, YES = 0, 1


def bradley_terry(r_a: Tensor, r_b: Tensor) -> Tensor:
    """log P of A and B, [M, 2], with P(A) = sigma(r_A - r_B) (Bradley and Terry 1952).

    Args:
        r_a, r_b: [M] utilities of the two sides.
    """
    difference = r_a - r_b
    return torch.stack([logsigmoid(difference), logsigmoid(-difference)], dim=-1)


def davidson(r_a: Tensor, r_b: Tensor, log_nu: Tensor) -> Tensor:
    """log P of A, B and a tie, [M, 3] (Davidson 1970): proportional to e^{r_A}, e^{r_B} and nu e^{(r_A + r_B) / 2}.

    Args:
        log_nu: scalar; -inf makes it Bradley-Terry.
    """
    half = (r_a - r_b) / 2  # relative to the mean of both utilities, so that large ones cancel exactly
    return torch.log_softmax(torch.stack([half, -half, log_nu.expand_as(half)], dim=-1), dim=-1)


def label_choice(utilities: Tensor) -> Tensor:
    """log P of each class, [M, C], with P(a) = softmax_a r(x, .) (Luce 1959); utilities [M, C]."""
    return torch.log_softmax(utilities, dim=-1)


def verdict(r: Tensor, tau: Tensor) -> Tensor:
    """log P of no and yes, [M, 2], with P(yes) = sigma(r - tau); r [M], tau a scalar."""
    return torch.stack([logsigmoid(tau - r), logsigmoid(r - tau)], dim=-1)


def ordinal(r: Tensor, cuts: Tensor) -> Tensor:
    """log P of ratings 1 to K, [M, K]: the ordinal logit P(k) = sigma(c_k - r) - sigma(c_{k-1} - r) (McCullagh 1980).

    Args:
        r: [M].
        cuts: [K - 1] ascending cut points; c_0 = -inf and c_K = inf.
    """
    below = cuts - r[:, None]
    first, last = logsigmoid(below[:, :1]), logsigmoid(-below[:, -1:])
    # sigma(v) - sigma(u) = sigma(v) sigma(-u) (1 - e^{u - v}): exact where both ends of a bin are far from r.
    upper, lower = below[:, 1:], below[:, :-1]
    between = logsigmoid(upper) + logsigmoid(-lower) + _log1mexp(upper - lower)
    return torch.cat([first, between, last], dim=-1)


def _log1mexp(width: Tensor) -> Tensor:
    """log(1 - e^{-width}) for width > 0."""
    return torch.log(-torch.expm1(-width.clamp_min(1e-6)))


def gaussian(r: Tensor, levels: int, *, offset: Tensor, log_gain: Tensor, log_sigma: Tensor) -> Tensor:
    """log density of ratings 1 to K, [M, K], at equal distances in -1 to 1, with mean offset + gain r: squared error.

    Args:
        r: [M].
        levels: K.
        offset, log_gain, log_sigma: scalars.
    """
    z = torch.linspace(-1, 1, levels, device=r.device)
    error = (z - offset - log_gain.exp() * r[:, None]) / log_sigma.exp()
    return -0.5 * error.square() - log_sigma - 0.5 * math.log(2 * math.pi)


ETA_PRIOR = 10.0  # eta ~ Beta(10, 1), with mean 10 / 11


def unreliable(log_p: Tensor, log_eta: Tensor, log_not: Tensor, otherwise: Tensor) -> Tensor:
    """log of eta P + (1 - eta) Q, [M, K] (Crowd-BT, Chen et al. 2013).

    Args:
        log_p: [M, K] log P of a reliable annotator.
        log_eta, log_not: [M] log eta and log(1 - eta) of each answer's annotator.
        otherwise: [M, K] or [K] log Q of an unreliable annotator: the other side of a comparison, the other verdict, or a
            uniformly random class or level.
    """
    return torch.logaddexp(log_eta[:, None] + log_p, log_not[:, None] + otherwise)


def ascending(first: Tensor, gaps: Tensor) -> Tensor:
    """Ascending cut points [K - 1] from unconstrained parameters: first, then first plus sums of softplus(gaps)."""
    return torch.cat([first.view(1), first + softplus(gaps).cumsum(0)])
