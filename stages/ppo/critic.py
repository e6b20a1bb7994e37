"""A learned value V(x): the baseline where the reward is known of the sampled class alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.policy import final_linear


class Critic(nn.Module):
    """A linear head on what the policy's last layer is fed.

    It reads the policy's features and does not change them, so that the value's error has no say in the policy, and the
    policy's gradient is that of its surrogate whatever the value's learning rate is. Starts at 0.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        layer = final_linear(policy)
        self.head = nn.Linear(layer.in_features, 1, device=layer.weight.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._fed = torch.empty(0)
        self._hook = layer.register_forward_pre_hook(self._look)

    def _look(self, layer: nn.Module, fed: tuple[Tensor, ...]) -> None:
        self._fed = fed[0].detach()

    def value(self) -> Tensor:
        """V(x) [B] of the images the policy was last called with."""
        return self.head(self._fed)[:, 0]

    def detach(self) -> None:
        """Leave the policy as it was."""
        self._hook.remove()
