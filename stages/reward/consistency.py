"""Weak-to-strong consistency: what a network predicts with confidence, it is to predict for a changed image as well.

FixMatch (Sohn et al. 2020), with FreeMatch's confidence thresholds, which adapt to what the network has learned of each
class (Wang et al. 2023). Nobody gave these images a label.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from pipeline.data.feature_cache import Features
from pipeline.run.runtime import Stream, generator

MOMENTUM = 0.99  # of the running means of confidences
CHANGES, MAGNITUDE = 2, 10  # of RandAugment (Cubuk et al. 2020), as in FixMatch
ERASED = (0.02, 0.2)  # share of an image that is erased


class Consistency:
    """Cross-entropy of strongly changed images against confident predictions for the images themselves.

    Args:
        features: of all images, without a frozen prefix.
        rows: [U] row numbers of the training images, ascending.
        classes: C.
        seeds: of the stream of changes: the run's, and the process's number.
        member: of the ensemble.
    """

    def __init__(self, features: Features, rows: Tensor, classes: int, seeds: tuple[int, int], member: int = 0) -> None:
        self.features, self.rows, self.classes, self.seeds = features, rows, classes, seeds
        self.random = generator(seeds[0], Stream.STRONG_VIEWS, member, seeds[1])
        self.confidence = torch.tensor(1 / classes)  # running mean over all images
        self.of_class = torch.full((classes,), 1 / classes)  # running mean of each class's probability
        self.change = v2.Compose([v2.RandAugment(CHANGES, MAGNITUDE), v2.RandomErasing(0.5, ERASED)])

    def of_member(self, member: int) -> Consistency:
        """With confidences and random numbers of its own."""
        return Consistency(self.features, self.rows, self.classes, self.seeds, member)

    def loss(self, suffix: nn.Module, utilities: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        own = utilities[torch.searchsorted(images, rows).to(utilities.device)]
        p = torch.softmax(own.detach(), -1)
        confidence, predicted = p.max(-1)
        self._count(p.cpu(), confidence.cpu())
        sure = confidence.cpu() >= self.thresholds()[predicted.cpu()]
        loss = 0.0 * own.sum(-1)  # with a gradient, and NaN where training diverged
        if int(sure.sum()) < 2:  # BatchNorm cannot train on one image
            return loss
        with self.features.autocast():
            strong = suffix(self.strong_views(rows[sure])).float()
        at = sure.to(loss.device)
        return loss.masked_scatter(at, nn.functional.cross_entropy(strong, predicted[at], reduction="none"))

    def thresholds(self) -> Tensor:
        """The confidence [C] from which a prediction of each class counts."""
        return self.confidence * self.of_class / self.of_class.max()

    def strong_views(self, rows: Tensor) -> Tensor:
        """Network inputs of changed images, each with changes of its own."""
        pixels = self.features.pixels.batch(rows).permute(0, 3, 1, 2)
        with torch.random.fork_rng([]):  # torchvision draws from the global stream
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=self.random)))
            changed = torch.stack([self.change(image) for image in pixels])
        return self.features.encode(changed.permute(0, 2, 3, 1).contiguous())

    def _count(self, p: Tensor, confidence: Tensor) -> None:
        self.confidence = MOMENTUM * self.confidence + (1 - MOMENTUM) * confidence.mean()
        self.of_class = MOMENTUM * self.of_class + (1 - MOMENTUM) * p.mean(0)

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of what `load_state_dict` needs to go on with the same results."""
        return {
            "confidence": self.confidence.clone(),
            "of_class": self.of_class.clone(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.confidence, self.of_class = state["confidence"], state["of_class"]
        self.random.set_state(state["random"])
