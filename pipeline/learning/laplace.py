"""A posterior of the reward model without further networks: the Laplace approximation of its last layer.

MacKay (1992) and Daxberger et al. (2021). The last layer is linear, u(x, c) = w_c . phi(x) + b_c, with normal priors. Around
its trained weights the posterior of each class's weights is normal, with precision prior + sum of n p_c (1 - p_c) phi phi^T
over the judged images; covariances between classes are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.learning.linear_heads import INTERCEPT_SD, USUAL_SD

MAX_FEATURES = 512  # longer vectors are projected onto their first principal components
DRAWS, MAX_VALUES = 16, 100_000_000  # fewer draws where they would not fit in memory


def standardised(features: Tensor) -> Tensor:
    """Features [N, D], centred, of unit root mean square norm, with a 1 appended: [N, min(D, MAX_FEATURES) + 1], double."""
    centred = features.double() - features.double().mean(0)
    if centred.shape[1] > MAX_FEATURES:
        covariance = centred.T @ centred
        centred = centred @ torch.linalg.eigh(covariance).eigenvectors[:, -MAX_FEATURES:]
    norm = float(centred.square().sum(1).mean().sqrt()) or 1.0
    return torch.cat([centred / norm, centred.new_ones(len(centred), 1)], dim=1)


def last_layer_samples(
    features: Tensor,
    utilities: Tensor,
    judged: Tensor,
    times: Tensor,
    random: torch.Generator,
    *,
    prior_sd: float = USUAL_SD,
    draws: int = DRAWS,
) -> Tensor:
    """Log-probabilities [S, N, C] under draws from the posterior.

    Args:
        features: [N, D] inputs of the last layer.
        utilities: [N, C] its outputs, around which the draws lie.
        judged: [J] row numbers of the judged images.
        times: [J] how often each was judged; each judgment is taken to say as much as a label choice.
        prior_sd: standard deviation of an average image's utilities before any judgment, in nats.
        draws: S; fewer, but at least 2, where they would take more than MAX_VALUES numbers.
    """
    count = max(2, min(draws, MAX_VALUES // utilities.numel()))
    phi = standardised(features)
    prior = torch.full((phi.shape[1],), prior_sd**-2, dtype=torch.double)
    prior[-1] = INTERCEPT_SD**-2
    p = torch.softmax(utilities[judged].double(), -1)
    curvature = times.double()[:, None] * p * (1 - p)
    drawn = utilities.new_empty(count, *utilities.shape)
    for number in range(utilities.shape[1]):
        precision = torch.diag(prior) + phi[judged].T @ (phi[judged] * curvature[:, number : number + 1])
        normal = torch.randn(len(prior), count, generator=random, dtype=torch.double)
        weights = torch.linalg.solve_triangular(torch.linalg.cholesky(precision).T, normal, upper=True)
        drawn[:, :, number] = (phi @ weights).T.to(drawn) + utilities[:, number]
    return torch.log_softmax(drawn, -1)


def log_mean_probability(log_p: Tensor) -> Tensor:
    """log of the mean probabilities [N, C] of draws [S, N, C]."""
    return torch.logsumexp(log_p, 0) - math.log(len(log_p))
