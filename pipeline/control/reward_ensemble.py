"""The reward model: an ensemble of networks r(s, a), computed together (Christiano et al. 2017; Lee et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.control.segments import Segments

MIN_STD = 1e-3  # of an observation's component; a constant one is not blown up


class RewardEnsemble(nn.Module):
    """M networks with leaky ReLU and a tanh at the end, so that a step's reward is in -1..1, as in B-Pref.

    Args:
        observation, action: sizes D and A of the inputs.
        hidden: widths of the hidden layers.
        members: M.
        random: of the initial weights; every member has its own.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, observation: int, action: int, hidden: Sequence[int], members: int, random: torch.Generator
    ) -> None:
        super().__init__()
        self.members = members
        self.register_buffer("mean", torch.zeros(observation))
        self.register_buffer("std", torch.ones(observation))
        sizes = [observation + action, *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            bound = 1 / math.sqrt(before)
            weight = (2 * torch.rand(members, before, after, generator=random) - 1) * bound
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, after)))

    def standardise(self, obs: Tensor) -> None:
        """Standardise observations by those in `obs` [B, D]."""
        self.mean.copy_(obs.mean(0))
        self.std.copy_(obs.std(0).clamp_min(MIN_STD) if len(obs) > 1 else torch.ones_like(self.std))

    def forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Rewards [B, M] of observations [B, D] and encoded actions [B, A]."""
        x = torch.cat([(obs - self.mean) / self.std, actions], dim=-1)
        hidden = x.expand(self.members, *x.shape)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            hidden = nn.functional.leaky_relu(hidden) if number < len(self.weights) - 1 else torch.tanh(hidden)
        return hidden[:, :, 0].T

    def returns(self, obs: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
        """Sums of rewards [N, M] over the steps of segments that count.

        Args:
            obs: [N, L, D].
            actions: [N, L, A].
            mask: [N, L], 1 for steps that count.
        """
        counted = mask.bool()
        rewards = mask.new_zeros(*mask.shape, self.members)
        rewards[counted] = self(obs[counted], actions[counted])
        return rewards.sum(1)

    @torch.no_grad()
    def segment_returns(self, segments: Segments) -> Tensor:
        """Sums of rewards [N, M] of segments."""
        return self.returns(*as_tensors(segments))

    @torch.no_grad()
    def reward(self, obs: np.ndarray, actions: np.ndarray, pessimism: float = 0.0) -> np.ndarray:
        """The reward [B] that the agent gets: the members' mean minus `pessimism` times their standard deviation."""
        each = self(torch.from_numpy(obs), torch.from_numpy(actions))
        spread = each.std(-1, correction=0) * pessimism if pessimism else 0.0
        return np.asarray((each.mean(-1) - spread).numpy(), dtype=np.float64)


def as_tensors(segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
    """Observations, actions and mask of segments."""
    return torch.from_numpy(segments.obs), torch.from_numpy(segments.actions), torch.from_numpy(segments.mask)
