"""The policy that PPO starts from: the reference, or what the reward model knows already (docs/method.md 4).

The objective and its optimum are the same from either; only the way is shorter. The objective of both is known exactly
before the first step.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Environment
from pipeline.learning.objective import policy_metrics
from pipeline.models.backbone import Split
from pipeline.models.policy import final_linear, log_policy

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Start:
    """A candidate: its name, its network in two pieces, and its objective on the training images."""

    name: Literal["reference", "reward"]
    pieces: Split
    features: Features
    J: float


def choose_start(environment: Environment) -> Start:
    """The initial policy that `ppo.start` names; with `auto`, the one with the higher objective."""
    ws = environment.ws
    wanted = ws.config.ppo.start
    candidates = []
    if wanted != "reward":
        candidates.append(_candidate(environment, "reference", copy.deepcopy(environment.reference)))
    if wanted != "reference":
        candidates.append(_candidate(environment, "reward", reward_network(environment)))
    chosen = max(candidates, key=lambda start: start.J)
    if len(candidates) > 1:
        log.debug("PPO starts from the %s", "reward model" if chosen.name == "reward" else "reference")
    return chosen


def _candidate(environment: Environment, name: Literal["reference", "reward"], network: nn.Module) -> Start:
    ws = environment.ws
    pieces, features = ws.cut(network, train=True)
    rows = ws.rows("train")
    log_pi = log_policy(ws.scores(pieces, features))[rows]
    metrics = policy_metrics(log_pi, environment.log_ref[rows], environment.reward[rows], environment.beta)
    return Start(name, pieces, features, metrics.J)


@torch.no_grad()
def reward_network(environment: Environment) -> nn.Module:
    """A policy network from the first member of the reward model.

    pi* has the logits a log pi_ref + u / beta, with the reference's weight a and the utility u. Where only a linear head is
    trained, on features that both share, that is a linear head, too: the optimum itself. Whole networks that were trained
    from the reference are interpolated with it in weight space instead (Wortsman et al. 2022), in the same proportion;
    others keep u / beta alone.
    """
    model, config = environment.reward_model, environment.ws.config
    network, reference = copy.deepcopy(model.networks[0]), environment.reference
    of_reference, of_u = float(model.prior_weight), 1 / (environment.beta * float(model.scales[0] * model.scale))
    head = final_linear(network)
    if config.model.trainable == "head":
        for own, base in zip(head.parameters(), final_linear(reference).parameters(), strict=True):
            own.copy_(of_reference * base + of_u * own)
        return network
    total = of_u
    if config.reward.start == "reference":
        total += of_reference
        for name, base in reference.state_dict().items():
            value = network.state_dict()[name]
            if value.is_floating_point():
                value.copy_(torch.lerp(base.to(value.device), value, of_u / total))
    head.weight.mul_(total)
    head.bias.mul_(total)
    return network
