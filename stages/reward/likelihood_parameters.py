"""What is learned beside the utilities: ties, thresholds, cut points, noise, and how reliable each annotator is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from stages.reward import likelihoods as p
from stages.reward.judgment_set import COMPARISON, LABEL, RATING, TIE_SEEN, VERDICT, JudgmentSet

PRIOR = 10.0  # eta ~ Beta(10, 1): as if each annotator had answered as the model nine times more than not


@dataclass(frozen=True)
class Shape:
    """Which parameters there are: whether ties occur, how many rating levels, how many annotators, and how ratings are read."""

    ties: bool
    levels: int
    annotators: int
    reliability: bool
    scalar_ratings: bool

    @classmethod
    def of(cls, judgments: JudgmentSet, reliability: bool, scalar_ratings: bool) -> Shape:
        count = len(judgments.annotators)
        return cls(judgments.has(TIE_SEEN), judgments.levels, count, reliability and count > 1, scalar_ratings)


class Latent(nn.Module):
    """Parameters of the likelihoods.

    Attributes:
        log_nu: log of Davidson's nu; -inf (and not learned) where no tie was seen.
        tau: threshold of verdicts.
        cuts: [K - 1] cut points of binned ratings (property).
        eta: [annotators] probability of answering as the model (property).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.log_nu = nn.Parameter(torch.tensor(-1.0 if shape.ties else -math.inf), requires_grad=shape.ties)
        self.tau = nn.Parameter(torch.tensor(0.0))
        self.first_cut = nn.Parameter(torch.tensor(-(shape.levels - 2) / 2.0))
        self.gaps = nn.Parameter(torch.full((max(0, shape.levels - 2),), math.log(math.e - 1)))
        self.offset, self.log_gain = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(-1.0))
        self.log_sigma = nn.Parameter(torch.tensor(-0.5))
        # Everyone starts at the prior's mean, 10 / 11.
        self.logit_eta = nn.Parameter(torch.full((shape.annotators,), math.log(PRIOR)), requires_grad=shape.reliability)

    @property
    def cuts(self) -> Tensor:
        return p.ascending(self.first_cut, self.gaps)

    @property
    def eta(self) -> Tensor:
        return torch.sigmoid(self.logit_eta)

    @property
    def nu(self) -> float:
        return float(self.log_nu.detach().exp())

    def log_prior(self) -> Tensor:
        """log density of Beta(10, 1) at every annotator's eta, up to a constant; 0 where none is learned."""
        return (PRIOR - 1) * logsigmoid(self.logit_eta).sum() if self.shape.reliability else torch.zeros(())

    def answers(self, kind: int, utilities: Tensor, images: Tensor, judgments: JudgmentSet) -> Tensor:
        """log P of every possible answer, [M, K], of judgments that are all of one kind.

        Args:
            utilities: [U, C] of the images given.
            images: [U] their rows, ascending.
        """
        j, device = judgments, utilities.device
        at_a = torch.searchsorted(images, j.rows_a).to(device)
        if kind == LABEL:
            log_p = p.label_choice(utilities[at_a])
        elif kind == COMPARISON:
            at_b = torch.searchsorted(images, j.rows_b).to(device)
            r_a, r_b = utilities[at_a, j.class_a.to(device)], utilities[at_b, j.class_b.to(device)]
            log_p = p.davidson(r_a, r_b, self.log_nu) if self.shape.ties else p.bradley_terry(r_a, r_b)
        else:
            r = utilities[at_a, j.class_a.to(device)]
            if kind == VERDICT:
                log_p = p.verdict(r, self.tau)
            elif self.shape.scalar_ratings:
                log_p = p.gaussian(r, self.shape.levels, self.offset, self.log_gain, self.log_sigma)
            else:
                log_p = p.ordinal(r, self.cuts)
        return self._mixed(kind, log_p, j.annotator.to(device)) if self.shape.reliability else log_p

    def _mixed(self, kind: int, log_p: Tensor, annotator: Tensor) -> Tensor:
        logit = self.logit_eta[annotator]
        if kind == COMPARISON:
            otherwise = log_p[:, [1, 0, 2] if self.shape.ties else [1, 0]]
        elif kind == VERDICT:
            otherwise = log_p.flip(-1)
        elif kind == RATING and self.shape.scalar_ratings:
            otherwise = torch.full_like(log_p, -math.log(2))  # a density on -1 to 1
        else:
            otherwise = torch.full_like(log_p, -math.log(log_p.shape[-1]))
        return p.unreliable(log_p, logsigmoid(logit), logsigmoid(-logit), otherwise)


def log_likelihood(
    utilities: Tensor, images: Tensor, judgments: JudgmentSet, latent: Latent, smoothing: float = 0.0
) -> Tensor:
    """log P of every judgment, [len(judgments)], kind after kind.

    Args:
        utilities: [U, C] of the images given.
        images: [U] their rows, ascending.
        smoothing: probability with which a label choice is taken for one drawn evenly from all classes.
    """
    parts = []
    for kind, own in judgments.by_kind():
        log_p = latent.answers(kind, utilities, images, own)
        chosen = log_p.gather(-1, own.answer.to(log_p.device)[:, None])[:, 0]
        if smoothing and kind == LABEL:
            chosen = (1 - smoothing) * chosen + smoothing * log_p.mean(-1)
        parts.append(chosen)
    return torch.cat(parts)


def mean_nll(utilities: Tensor, judgments: JudgmentSet, latent: Latent) -> float:
    """Mean negative log-likelihood of judgments, in nats; utilities [U, C] of `judgments.images`."""
    with torch.no_grad():
        return float(-log_likelihood(utilities, judgments.images, judgments, latent).mean())
