"""What a reward model's card needs, whatever its items are: images, texts or clips.

The card is made in stages/reward/card.py; other stages get it from the command line (`pipeline.run.extension`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pipeline.config import RewardConfig


@dataclass(frozen=True)
class CardItems:
    """The run, and how its items are shown.

    Attributes:
        run: name.
        classes: of the utilities' columns; a single one, "better", for items without classes.
        ids, captions: of all items, by row; a caption is a path or a text.
        item: what an item is called: image, text or clip.
        thumbnail: data address of a picture of an item, from its id; None if there is none.
        describe: a judgment in words, from its row numbers [I], class numbers [L] and answer; None: as its likelihood does.
    """

    run: str
    seed: int
    settings: RewardConfig
    classes: Sequence[str]
    ids: Sequence[str]
    captions: Sequence[str]
    item: str = "image"
    thumbnail: Callable[[str], str | None] = lambda _: None
    describe: Callable[[Tensor, Tensor, int], str] | None = None


@dataclass(frozen=True)
class MemberParameters:
    """Of one network of the ensemble: its likelihood parameters, and the epoch of its weights."""

    latent: Any
    epoch: int


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A trained reward model, and its utilities of judgments that it was not trained on.

    Attributes:
        members: of the ensemble; each has `latent` and `epoch`, as `MemberParameters`.
        rewards: [N, C] of all items.
        heldout: judgments (a set of stages/reward/judgment_set.py).
        heldout_utilities: [N, C], one per member; only rows of items in `heldout` are independent of those judgments.
        curve: the learning curve, the last point with all judgments: judgments, accuracy, low, high.
        scale, tie: of the rewards, and Davidson's nu.
        folds: how many parts took turns to be held out; 0 for a single held-out split.
        prior_sd: of linear heads, in nats; None for networks that were trained by AdamW.
        unlabelled: what items that nobody judged taught.
    """

    members: Sequence[Any]
    rewards: Tensor
    heldout: Any
    heldout_utilities: Sequence[Tensor]
    curve: list[dict[str, float]]
    scale: float = 1.0
    tie: float = 0.0
    folds: int = 0
    prior_sd: float | None = None
    unlabelled: str = "none"


@dataclass(frozen=True, eq=False)
class FittedHeads:
    """Linear heads on fixed features, with their evaluation.

    Attributes:
        heads: weight [1, D] and bias [1] of each member.
    """

    heads: list[tuple[Tensor, Tensor]]
    evaluated: Evaluated = field(repr=False)
