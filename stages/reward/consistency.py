"""Weak-to-strong consistency: what a network predicts with confidence, it is to predict for a changed image as well.

FixMatch (Sohn et al. 2020), with FreeMatch's confidence thresholds, which adapt to what the network has learned of each
class (Wang et al. 2023). Nobody gave these images a label.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from pipeline.data.feature_cache import Features
from pipeline.run.processes import Share
from pipeline.run.runtime import Runtime, Stream, generator

MOMENTUM = 0.99  # of the running means of confidences
CHANGES, MAGNITUDE = 2, 10  # of RandAugment (Cubuk et al. 2020), as in FixMatch
ERASED = (0.02, 0.2)  # share of an image that is erased


class _RandAugmentDraws(v2.RandAugment):
    """Draws the random numbers of RandAugment, and changes nothing."""

    def _apply_image_or_video_transform(self, image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return image


class _RandomErasingDraws(v2.RandomErasing):
    """Draws the random numbers of RandomErasing, and changes nothing."""

    def transform(self, image: Any, params: dict[str, Any]) -> Any:
        return image


class Consistency:
    """Cross-entropy of strongly changed images against confident predictions for the images themselves.

    Args:
        features: of all images, without a frozen prefix.
        rows: [U] row numbers of the training images, ascending.
        classes: C.
        seed: the run's, of the stream of changes.
        member: of the ensemble.
    """

    def __init__(self, features: Features, rows: Tensor, classes: int, seed: int, member: int = 0) -> None:
        self.features, self.rows, self.classes, self.seed = features, rows, classes, seed
        self.random = generator(seed, Stream.STRONG_VIEWS, member, 0)
        self.confidence = torch.tensor(1 / classes)  # running mean over all images
        self.of_class = torch.full((classes,), 1 / classes)  # running mean of each class's probability
        self.change = v2.Compose([v2.RandAugment(CHANGES, MAGNITUDE), v2.RandomErasing(0.5, ERASED)])
        self.draw = v2.Compose([_RandAugmentDraws(CHANGES, MAGNITUDE), _RandomErasingDraws(0.5, ERASED)])

    def of_member(self, member: int) -> Consistency:
        """With confidences and random numbers of its own."""
        return Consistency(self.features, self.rows, self.classes, self.seed, member)

    def loss(self, suffix: nn.Module, utilities: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        own = utilities[torch.searchsorted(images, rows).to(utilities.device)]
        p = torch.softmax(own.detach(), -1)
        confidence, predicted = p.max(-1)
        self._count(p.cpu(), confidence.cpu())
        sure = confidence.cpu() >= self.thresholds()[predicted.cpu()]
        loss = 0.0 * own.sum(-1)  # with a gradient, and NaN where training diverged
        if int(sure.sum()) < 2:  # BatchNorm cannot train on one image
            return loss
        runtime = self.features.runtime
        share = runtime.share(int(sure.sum()))
        with self.features.autocast(), runtime.minibatch(share):
            strong = suffix(self.strong_views(rows[sure], share)).float()
        strong = runtime.gather(strong, share)
        at = sure.to(loss.device)
        return loss.masked_scatter(at, nn.functional.cross_entropy(strong, predicted[at], reduction="none"))

    def thresholds(self) -> Tensor:
        """The confidence [C] from which a prediction of each class counts."""
        return self.confidence * self.of_class / self.of_class.max()

    def strong_views(self, rows: Tensor, share: Share | None = None) -> Tensor:
        """Network inputs of changed images, each with changes of its own: of this process's share of `rows`."""
        share = share or Runtime(self.features.device).share(len(rows))
        pixels = self.features.pixels.batch(rows[share.positions]).permute(0, 3, 1, 2)
        first, last = int(share.positions[0]), int(share.positions[-1])
        changed = []
        with torch.random.fork_rng([]):  # torchvision draws from the global stream
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=self.random)))
            for position in range(last + 1):
                if position >= first:
                    changed.append(self.change(pixels[position - first]))
                else:  # another process changes this image
                    self.draw(pixels[0])
        return self.features.encode(torch.stack(changed).permute(0, 2, 3, 1).contiguous())

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
