"""A learned value V(x): the baseline of `estimator: critic`, where only the sampled class's reward is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.policy import final_linear


class Critic(nn.Module):
    """A linear head on the input of the policy's last layer, initialised to 0.

    It reads the policy's features without a gradient: the value's error does not train the policy, whose gradient is
    that of its surrogate whatever the value's learning rate is.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        layer = final_linear(policy)
        self.head = nn.Linear(layer.in_features, 1, device=layer.weight.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._features = torch.empty(0)
        self._hook = layer.register_forward_pre_hook(self._remember_features)

    def _remember_features(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0].detach().float()

    def value(self) -> Tensor:
        """V(x) [B] of the images the policy was last called with."""
        return self.head(self._features)[:, 0]

    def detach(self) -> None:
        """Remove the hook from the policy."""
        self._hook.remove()
