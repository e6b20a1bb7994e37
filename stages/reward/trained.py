"""What training the reward model gives, whichever way it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from stages.reward.fit import Member
from stages.reward.judgment_set import JudgmentSet


@dataclass(frozen=True, eq=False)
class Trained:
    """The ensemble, and judgments with utilities that were not trained on them.

    Attributes:
        members: of the ensemble.
        utilities: [N, C] of all images, one per member.
        heldout: M judgments.
        heldout_utilities: [N, C], one per member; only rows of `heldout.images` are independent of those judgments.
        curve: the learning curve, the last point with all judgments.
        folds: how many parts took turns to be held out; 0 for a single held-out split.
        prior_sd: of linear heads, in nats; None for networks that were trained by AdamW.
        unlabelled: what images that nobody judged taught, a value of `reward.unlabelled`.
    """

    members: Sequence[Member]
    utilities: list[Tensor]
    heldout: JudgmentSet
    heldout_utilities: list[Tensor]
    curve: list[dict[str, float]]
    folds: int = 0
    prior_sd: float | None = None
    unlabelled: str = "none"
