"""What images that nobody judged teach a network trained by AdamW: one object per value of `reward.unlabelled`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from feedback_store.registry import Registry
from pipeline.data.feature_cache import Features
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from stages.reward.folds import FOLDS, folds_by_image
from stages.reward.judgment_set import JudgmentSet
from stages.reward.unlabelled import Propagation


class Teaching(Protocol):
    """A loss of images without judgments, added to that of the judgments."""

    @property
    def rows(self) -> Tensor:
        """[U] row numbers of the images that learn, ascending; every judged training image is among them."""

    def of_member(self, member: int) -> Teaching:
        """One for a member of an ensemble, with random streams of its own."""

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of what changes during training."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Resume from what `state_dict` returned."""

    def loss(self, suffix: nn.Module, utilities: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        """The loss of each of some images [len(rows)], in nats; all processes must call it.

        Args:
            suffix: the trained network.
            utilities: [I, C] of `images`, ascending; these contain `rows`.
        """


class Method(Protocol):
    """One value of `reward.unlabelled`."""

    def applies(self, ws: Workspace) -> bool:
        """Whether `auto` tries it."""

    def prepare(self, ws: Workspace, features: Features, judgments: JudgmentSet) -> Teaching | None:
        """What it teaches beside these judgments; None if it teaches nothing."""


class Nothing:
    def applies(self, ws: Workspace) -> bool:
        return True

    def prepare(self, ws: Workspace, features: Features, judgments: JudgmentSet) -> Teaching | None:
        return None


class Propagate:
    """Judgments spread to neighbouring images (`unlabelled.py`)."""

    def applies(self, ws: Workspace) -> bool:
        return True

    def prepare(self, ws: Workspace, features: Features, judgments: JudgmentSet) -> Teaching | None:
        folds = folds_by_image(judgments, FOLDS, generator(ws.config.seed, Stream.REWARD_FOLDS))
        if not folds:
            return None  # too few judgments to choose how far they spread
        propagation = Propagation(ws.config.reward, features, ws.rows("train"), len(ws.classes))
        return propagation.targets(judgments, propagation.choose(folds))


class WeakToStrong:
    """The network's own confident predictions, for changed views of the same images (`consistency.py`)."""

    def applies(self, ws: Workspace) -> bool:
        return ws.config.model.trainable == "all"

    def prepare(self, ws: Workspace, features: Features, judgments: JudgmentSet) -> Teaching | None:
        from stages.reward.consistency import Consistency  # imports torchvision, which is slow

        return Consistency(features, ws.rows("train"), len(ws.classes), ws.config.seed)


methods: Registry[Method] = Registry("method for unlabelled images", "image_rlhf.unlabelled")
methods.register("none", Nothing())
methods.register("propagate", Propagate())
methods.register("consistency", WeakToStrong())


def candidates(ws: Workspace) -> list[str]:
    """The methods to try: the configured one, or with `auto` all that apply."""
    wanted = ws.config.reward.unlabelled
    return [name for name in methods.names() if methods.get(name).applies(ws)] if wanted == "auto" else [wanted]
