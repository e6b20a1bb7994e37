"""What images that nobody judged teach: judgments spread to their neighbours (docs/method.md 1).

Nobody gave these images a label: they have probabilities that follow from the judgments of others, and train the reward
model as much as held-out judgments bear them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config import RewardConfig
from pipeline.data.feature_cache import Features
from pipeline.data.representation import representation
from pipeline.learning.neighbour_graph import neighbour_graph, spread
from stages.reward.folds import Fold
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters

if TYPE_CHECKING:
    from scipy import sparse

SHARES = (0.5, 0.8, 0.9, 0.95, 0.98)  # of an image's probabilities that comes from its neighbours
SHARPNESSES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # powers of the spread probabilities, which come out too flat
SMALLEST = 1e-6  # probability
MISTAKES = 0.1  # share of answers that are expected to be wrong, before they are spread


class Spread(NamedTuple):
    """How judgments spread: the share of an image's probabilities that comes from its neighbours, and their power."""

    share: float
    sharpness: float


@dataclass(frozen=True, eq=False)
class Targets:
    """Probabilities of the classes of images that need not have been judged.

    Attributes:
        rows: [U] row numbers, ascending.
        probabilities: [U, C].
        weight: of an image, in judgments.
    """

    rows: Tensor
    probabilities: Tensor
    weight: float = 1.0

    def of_member(self, member: int) -> Targets:
        """The same for each member of an ensemble."""
        return self

    def loss(self, suffix: nn.Module, utilities: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        """`cross_entropy`, for which the network need not run again."""
        return self.cross_entropy(utilities, images, rows)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing changes during training."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Does nothing."""

    def cross_entropy(self, utilities: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        """-sum of the probabilities times log softmax of the utilities, times the weight, [len(rows)], in nats.

        Args:
            utilities: [I, C] of `images`, ascending; these contain `rows`.
        """
        log_p = torch.log_softmax(utilities[torch.searchsorted(images, rows).to(utilities.device)], -1)
        wanted = self.probabilities[torch.searchsorted(self.rows, rows)].to(log_p)
        return -self.weight * (wanted * log_p).sum(-1)


class Propagation:
    """The graph of all training images, on which any part of the judgments can be spread.

    Args:
        features: of all images.
        rows: [U] row numbers of the training images, ascending.
        classes: C.
    """

    def __init__(self, config: RewardConfig, features: Features, rows: Tensor, classes: int) -> None:
        self.config, self.rows, self.classes = config, rows, classes
        self.graph: sparse.csr_array = neighbour_graph(representation(features)[rows.numpy()])

    def log_probabilities(self, judgments: JudgmentSet, share: float) -> Tensor:
        """[U, C] of `rows`, in double precision, before they are sharpened."""
        images, own = class_evidence(judgments, self.classes, self.config)
        evidence = np.zeros((len(self.rows), self.classes))
        evidence[torch.searchsorted(self.rows, images).numpy()] = own.numpy()
        return torch.from_numpy(spread(self.graph, evidence, share)).clamp_min(SMALLEST).log()

    def choose(self, folds: list[Fold]) -> Spread:
        """The share and the sharpness under which held-out judgments are most probable, the largest share of equal ones.

        Every fold's judgments are predicted by those of the others.
        """
        tested = JudgmentSet.joined([test for _, test in folds])
        images = tested.images
        parameters = LikelihoodParameters(tested, self.config, mistakes=True).double()
        losses: dict[Spread, float] = {}
        for share in reversed(SHARES):
            table = torch.zeros(len(images), self.classes, dtype=torch.double)
            for train, test in folds:
                found = self.log_probabilities(train, share)
                table[torch.searchsorted(images, test.images)] = found[torch.searchsorted(self.rows, test.images)]
            for sharpness in SHARPNESSES:
                log_p = torch.log_softmax(sharpness * table, -1)
                losses[Spread(share, sharpness)] = float(log_loss(log_p, tested, parameters).mean())
        return min(losses, key=losses.__getitem__)

    def targets(self, judgments: JudgmentSet, how: Spread, weight: float = 1.0) -> Targets:
        """What these judgments say of all training images."""
        log_p = self.log_probabilities(judgments, how.share)
        return Targets(self.rows, torch.softmax(how.sharpness * log_p, -1).float(), weight)


def class_evidence(judgments: JudgmentSet, classes: int, config: RewardConfig) -> tuple[Tensor, Tensor]:
    """Judged images [I], ascending, and the probabilities [I, C] of their classes given their judgments alone.

    Under the likelihood of each kind, if the utilities of an image are those of a label choice that is right with
    probability 1 - MISTAKES, and every class is equally likely before. Judgments of two different images are left out.
    """
    single = judgments.pick((judgments.rows == judgments.rows[:, :1]).all(1))
    images = single.images
    sharpness = float(np.log((1 - MISTAKES) * (classes - 1) / MISTAKES))
    utilities, pretended = sharpness * torch.eye(classes, dtype=torch.double), torch.arange(classes)
    parameters = LikelihoodParameters(single, config).double()
    log_p = torch.zeros(len(images), classes, dtype=torch.double)
    with torch.no_grad():
        for number, _, own in single.by_likelihood():
            at = torch.searchsorted(images, own.rows_a)
            for of in range(classes):
                as_class = _about(own, of)
                given = parameters.log_p_of_answers(number, utilities, pretended, as_class)
                log_p[:, of].index_add_(0, at, given)
    return images, torch.softmax(log_p, 1)


def _about(judgments: JudgmentSet, image: int) -> JudgmentSet:
    """The same questions and answers, about one image."""
    return replace(judgments, rows=torch.full_like(judgments.rows, image))
