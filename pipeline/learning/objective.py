"""The KL-regularised objective, its exact optimum, and how close a policy comes to it (docs/method.md 3).

Classes can be enumerated, so everything here is exact. All tables are [N, C]: log pi, log pi_ref, and the
normalised reward r~; beta > 0.

    J(pi)  = E_x [ sum_a pi(a|x) r~(x,a) - beta KL(pi || pi_ref) ]
    pi*    = pi_ref e^{r~/beta} / Z,    J* = beta E_x log Z(x),    J* - J(pi) = beta E_x KL(pi || pi*)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = (
    2**21
)  # elements of a table that are looked at together: 16 MiB in double precision, and some ten copies of them


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row, [N], in nats. A class with p = 0 adds nothing."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), torch.zeros_like(p)).sum(-1)


def entropy(log_p: Tensor) -> Tensor:
    """Entropy of each row, [N], in nats."""
    p = log_p.exp()
    return -torch.where(p > 0, p * log_p, torch.zeros_like(p)).sum(-1)


def objective(log_pi: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """J(pi), a scalar."""
    return ((log_pi.exp() * reward).sum(-1) - beta * kl(log_pi, log_ref)).mean()


def log_optimal_policy(log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """log pi*(.|x), [N, C]: the policy that maximises J."""
    return torch.log_softmax(log_ref + reward / beta, dim=-1)


def optimal_objective(log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """J*, a scalar."""
    return beta * torch.logsumexp(log_ref + reward / beta, dim=-1).mean()


@dataclass(frozen=True)
class PolicyMetrics:
    """Exact metrics of a policy, each a mean over images.

    Attributes:
        J, J_ref, J_star: objective of the policy, of the reference, and of the optimum pi*.
        attained: (J - J_ref) / (J_star - J_ref): 0 for the reference, 1 for the optimum.
        kl, kl_star: KL to the reference, in nats per image, of the policy and of the optimum.
        entropy: of the policy, in nats per image.
        reward: expected r~ under the policy.
    """

    J: float
    J_ref: float
    J_star: float
    attained: float
    kl: float
    kl_star: float
    entropy: float
    reward: float


def policy_metrics(log_pi: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> PolicyMetrics:
    """Exact metrics of a policy: log_pi, log_ref, reward [N, C].

    Where the optimum is the reference itself (a reward that does not depend on the class), attained is 1 for a policy
    equal to it and NaN for any other.
    """
    rows = max(1, CHUNK // log_pi.shape[-1])
    chunks = zip(*(table.split(rows) for table in (log_pi, log_ref, reward)), strict=True)
    parts = [_row_metrics(pi, ref, r, beta) for pi, ref, r in chunks]
    means = [float(torch.cat(values).mean()) for values in zip(*parts, strict=True)]
    j, j_ref, log_z, kl_pi, kl_star, entropy_pi, expected = means
    j_star = beta * log_z
    room = j_star - j_ref
    attained = (j - j_ref) / room if room > 1e-12 else (1.0 if j_star - j < 1e-12 else float("nan"))
    return PolicyMetrics(j, j_ref, j_star, attained, kl_pi, kl_star, entropy_pi, expected)


def _row_metrics(log_pi: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> tuple[Tensor, ...]:
    """J, J_ref, log Z, KL, KL of the optimum, entropy and expected reward of each image, [N] each."""
    # Normalised in double precision: an error of float32 times a large beta would exceed what the judgments add.
    log_pi, log_ref = (torch.log_softmax(log_p.double(), -1) for log_p in (log_pi, log_ref))
    reward = reward.double()
    log_star = log_ref + reward / beta
    expected, kl_pi = (log_pi.exp() * reward).sum(-1), kl(log_pi, log_ref)
    return (
        expected - beta * kl_pi,
        (log_ref.exp() * reward).sum(-1) - beta * kl(log_ref, log_ref),
        torch.logsumexp(log_star, -1),
        kl_pi,
        kl(torch.log_softmax(log_star, -1), log_ref),
        entropy(log_pi),
        expected,
    )
