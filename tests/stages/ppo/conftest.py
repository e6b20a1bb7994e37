"""PPO without images: policies on features that are in memory, with the stage's own learner and update."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support import threads
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Inputs
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Runtime
from stages.ppo.learner import Learner
from stages.ppo.update import update

CPU = torch.device("cpu")


one_thread = pytest.fixture(autouse=True)(threads.one_thread)


def inputs_of(x: Tensor) -> Inputs:
    """A rollout's inputs that are features already."""
    return Inputs(Features(None, None, x.numpy(), CPU), torch.arange(len(x)))  # type: ignore[arg-type]


def learner_of(
    policy: nn.Module, count: int, config: PPOConfig, labelled: tuple[Tensor, Tensor] | None = None
) -> Learner:
    beta = 0.3 if config.beta == "auto" else config.beta
    pieces = Split(policy, None, policy)
    return Learner.start(config, Runtime(CPU), pieces, torch.arange(count), seed=0, beta=beta, labelled=labelled)


def learn(policy: nn.Module, x: Tensor, log_ref: Tensor, reward: Tensor, config: PPOConfig) -> Tensor:
    """The stage's loop without evaluation: every iteration on all of x; returns log pi [N, C]."""
    learner, inputs = learner_of(policy, len(x), config), inputs_of(x)
    for iteration in range(config.iterations):
        learner.set_lr(iteration)
        rollout = learner.act(inputs, log_ref, reward)
        update(learner, rollout)
        learner.controller = learner.controller.after(0.0, len(x))
    with torch.no_grad():
        return log_policy(policy(x))


@pytest.fixture
def train() -> Callable[..., Tensor]:
    return learn


@pytest.fixture
def make_learner() -> Callable[..., Learner]:
    return learner_of


@pytest.fixture
def given() -> Callable[[Tensor], Inputs]:
    return inputs_of
