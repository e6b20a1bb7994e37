"""What images that nobody judged teach a linear head: held-out judgments choose among `reward.unlabelled`'s methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.feature_cache import Features
from pipeline.learning.linear_heads import solvable
from pipeline.run.workspace import Workspace
from stages.reward.class_balance import ClassBalance
from stages.reward.cross_validation import cross_validate, heldout_loss
from stages.reward.folds import Fold
from stages.reward.judgment_set import JudgmentSet
from stages.reward.linear_head import Head, HeadProblem
from stages.reward.unlabelled import Propagation, Spread, Targets

WEIGHTS = (0.1, 0.3, 1.0)  # of an image that nobody judged, in judgments
PROPAGATING, BALANCING = ("propagate", "auto"), ("balance", "auto")  # values of reward.unlabelled


@dataclass(frozen=True, eq=False)
class HeadTeaching:
    """What unlabelled images teach, beside judgments.

    Attributes:
        images: [U] row numbers, ascending: the judged ones, and those that teach.
        balance: the prior of the classes' shares; None: without one.
        propagation: spreads judgments to neighbours; None: they stay where they are.
        how: how far they spread.
        weight: of an image that nobody judged, in judgments.
    """

    images: Tensor
    balance: ClassBalance | None = None
    propagation: Propagation | None = None
    how: Spread | None = None
    weight: float = 0.0

    @property
    def name(self) -> str:
        """The methods that are used, as the card names them."""
        return "+".join(["balance"] * bool(self.balance) + ["propagate"] * bool(self.weight)) or "none"

    def heads(
        self,
        problem: HeadProblem,
        train: JudgmentSet,
        prior_sd: float,
        *,
        samples: Iterable[JudgmentSet] | None = None,
        error_rates: torch.nn.ModuleDict | None = None,
    ) -> list[Head]:
        """The heads of the highest posterior given some judgments.

        Args:
            samples: of these judgments, one per head; None: one head from all of them.
            prior_sd, error_rates: as for `HeadProblem.fit`.
        """
        targets = self.targets(train)
        return [
            problem.fit(own, prior_sd, targets=targets, error_rates=error_rates, balance=self.balance)
            for own in samples or [train]
        ]

    def targets(self, train: JudgmentSet) -> Targets | None:
        """What these judgments say of their images' neighbours."""
        if self.propagation is None or self.how is None or not self.weight:
            return None
        return self.propagation.targets(train, self.how, self.weight)


def possible_teaching(ws: Workspace, features: Features, judged: Tensor) -> HeadTeaching:
    """What `reward.unlabelled` allows, before held-out judgments choose; with `auto`, what can be fitted in seconds.

    Args:
        judged: [U] row numbers of the judged images, ascending.
    """
    wanted, train = ws.config.reward.unlabelled, ws.rows("train")
    balance = ClassBalance.over(train)
    with_sample, with_all = (torch.unique(torch.cat([judged, rows])) for rows in (balance.rows, train))

    def fits(images: Tensor) -> bool:
        return wanted != "auto" or solvable(features, images, len(ws.classes))

    teaching = HeadTeaching(judged)
    if wanted in BALANCING and fits(with_sample):
        teaching = replace(teaching, images=with_sample, balance=balance)
    if wanted in PROPAGATING and len(with_all) > len(judged) and fits(with_all):
        propagation = Propagation(ws.config.reward, features, train, len(ws.classes))
        teaching = replace(teaching, images=with_all, propagation=propagation)
    return teaching


def choose_teaching(
    teaching: HeadTeaching, problem: HeadProblem, folds: list[Fold], prior_sd: float, *, wanted: str
) -> HeadTeaching:
    """The methods, among those allowed, under which held-out judgments are most probable.

    With few judgments, spreading them makes a head worse about as often as better. So `auto` does it only if held-out
    judgments become more probable by more than one standard error.

    Args:
        wanted: `reward.unlabelled`; with "balance" the classes' shares have their prior whatever held-out judgments say.
    """

    def losses(some: HeadTeaching) -> Tensor:
        result = cross_validate(folds, lambda train, number: some.heads(problem, train, prior_sd), problem)
        return heldout_loss(result, problem.config)

    if teaching.balance and wanted != "balance":
        without = replace(teaching, balance=None)
        teaching = min((without, teaching), key=lambda some: float(losses(some).sum()))
    if teaching.propagation:
        spreading = replace(teaching, how=teaching.propagation.choose(folds))
        found = {weight: losses(replace(spreading, weight=weight)) for weight in (0.0, *WEIGHTS)}
        best = min(WEIGHTS, key=lambda weight: float(found[weight].sum()))
        gains = found[0.0] - found[best]
        if surely_positive(gains) if wanted == "auto" else float(gains.sum()) > 0:
            teaching = replace(spreading, weight=best)
    return teaching


def surely_positive(differences: Tensor) -> bool:
    """Whether the mean of paired differences [M] is more than one standard error above 0."""
    return len(differences) > 1 and float(differences.mean()) > float(differences.std() / len(differences) ** 0.5)
