"""The reward model: utilities r(x, .) of all C classes in one forward pass, and the scale they are reported in."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.models.files import ModelHeader, load_model, save_model


class RewardModel(nn.Module):
    """A network with [B, C] outputs and, as buffers, what was fitted after training.

    Attributes:
        network: image [B, 3, H, W] to utilities r [B, C].
        scale: standard deviation s of the centred utilities under the reference (METHOD 2).
        tie: Davidson's nu, the propensity of ties in comparisons; 0 where none was seen.
    """

    scale: Tensor
    tie: Tensor

    def __init__(self, network: nn.Module, scale: float = 1.0, tie: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("tie", torch.tensor(float(tie)))

    def forward(self, images: Tensor) -> Tensor:
        utilities: Tensor = self.network(images)
        return utilities

    def save(self, path: Path, header: ModelHeader) -> None:
        save_model(path, self.network, header, {"reward.scale": self.scale, "reward.tie": self.tie})

    @classmethod
    def load(cls, path: Path) -> tuple[RewardModel, ModelHeader]:
        network, header, extra = load_model(path, "reward")
        return cls(network, extra["reward.scale"].item(), extra["reward.tie"].item()).eval(), header


def centred(utilities: Tensor, log_ref: Tensor) -> Tensor:
    """r(x,a) - sum_b pi_ref(b|x) r(x,b), [N, C]: removes the offset per image that comparisons leave free (METHOD 2)."""
    return utilities - (log_ref.exp() * utilities).sum(-1, keepdim=True)


def reference_scale(utilities: Tensor, log_ref: Tensor) -> float:
    """Standard deviation of the centred utilities for x over the images given and a ~ pi_ref."""
    variance = (log_ref.exp() * centred(utilities, log_ref).square()).sum(-1).mean()
    return float(variance.sqrt())


def normalised(utilities: Tensor, log_ref: Tensor, scale: float) -> Tensor:
    """r~ [N, C]: mean 0 under the reference for every image; variance 1 over the images the scale was fitted on."""
    return centred(utilities, log_ref) / scale
