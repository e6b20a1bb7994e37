"""Judgment sets and likelihood parameters for tests, without a store."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import parse_config
from pipeline.kinds import likelihoods
from pipeline.kinds.comparison import DavidsonParameters
from pipeline.kinds.probabilities import TIE
from pipeline.kinds.rating import RatingParameters
from pipeline.kinds.verdict import Threshold
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters

COMPARISON, LABEL, VERDICT, RATING = range(4)


def judgment_set(
    kind: Tensor,
    rows: tuple[Tensor, Tensor],
    classes: tuple[Tensor, Tensor],
    answer: Tensor,
    annotator: Tensor | None = None,
    annotators: tuple[str, ...] = ("",),
    levels: int = 2,
    class_count: int = 3,
) -> JudgmentSet:
    """Judgments of the project's own likelihoods; rows and classes: of the first and of the second side."""
    assert [one.name for one in likelihoods()][:4] == ["comparison", "label", "verdict", "rating"]
    return JudgmentSet(
        likelihoods(),
        kind,
        torch.stack(rows, 1),
        torch.stack(classes, 1),
        answer,
        torch.zeros_like(kind) if annotator is None else annotator,
        annotators,
        (3, class_count, 2, levels, *(2 for _ in likelihoods()[4:])),
    )


def start_parameters(
    *,
    ties: bool = False,
    levels: int = 5,
    annotators: int = 1,
    reliability: bool = False,
    scalar_ratings: bool = False,
    class_count: int = 3,
) -> LikelihoodParameters:
    """Parameters at their start."""
    one = torch.tensor([0])
    names = tuple(str(n) for n in range(annotators))
    tie = torch.tensor([TIE if ties else 0])
    judgments = judgment_set(one, (one, one), (one, one), tie, None, names, levels, class_count)
    rating = "scalar" if scalar_ratings else "binned"
    tree = {"images": {"source": "digits"}, "reward": {"reliability": reliability, "rating": rating}}
    return LikelihoodParameters(judgments, parse_config(tree, "test").reward)


def pair_parameters(of: LikelihoodParameters) -> DavidsonParameters:
    found = of.of["comparison"]
    assert isinstance(found, DavidsonParameters)
    return found


def threshold(of: LikelihoodParameters) -> Threshold:
    found = of.of["verdict"]
    assert isinstance(found, Threshold)
    return found


def rating_parameters(of: LikelihoodParameters) -> RatingParameters:
    found = of.of["rating"]
    assert isinstance(found, RatingParameters)
    return found
