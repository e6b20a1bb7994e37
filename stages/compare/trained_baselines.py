"""Baselines that are trained on the same judgments: distillation of pi*, and DPO's implicit reward (docs/method.md 9)."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Environment, forward
from pipeline.learning.objective import log_optimal_policy, policy_metrics
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Stream, generator, minibatches
from pipeline.tracking.metrics_log import Metrics


class ImplicitReward(nn.Module):
    """DPO's utility (Rafailov et al. 2023): u(x, a) = beta (log pi(a|x) - log pi_ref(a|x)), [B, C].

    Judgments have the same likelihoods as under a reward model; the policy that maximises them needs no PPO. `beta` is in
    units of the judgments' utility: PPO's beta times the reward model's scale, so that both have the same optimum.
    """

    def __init__(self, policy: nn.Module, reference: nn.Module, beta: float) -> None:
        super().__init__()
        self.policy, self.reference, self.beta = policy, reference.requires_grad_(False).eval(), beta

    def train(self, mode: bool = True) -> ImplicitReward:
        """Set the policy's mode; the reference stays frozen, BatchNorm's buffers included."""
        super().train(mode)
        self.reference.eval()
        return self

    def forward(self, features: Tensor) -> Tensor:
        with torch.no_grad():
            log_ref = log_policy(self.reference(features))
        return self.beta * (log_policy(self.policy(features)) - log_ref)


def dpo_pieces(pieces: Split, beta: float) -> Split:
    """Pieces whose suffix is the implicit reward of the policy in `pieces`, which is initialised to the reference."""
    implicit = ImplicitReward(pieces.suffix, copy.deepcopy(pieces.suffix), beta)
    return Split(pieces.network, pieces.prefix, implicit)


def distil(
    environment: Environment, pieces: Split, features: Features, *, beta: float, rollouts: int, metrics: Metrics
) -> int:
    """Train with cross-entropy to pi* on `rollouts` rollouts; returns the number of images.

    As in PPO, views are drawn and scored for each rollout. Each rollout is trained on once, in train mode, as in
    supervised learning.

    Args:
        beta: of the optimum pi* that is distilled.
    """
    ws, config = environment.ws, environment.ws.config.ppo
    random = generator(ws.config.seed, Stream.DISTILLATION)
    rows = ws.rows("train")
    rollout = len(rows) / -(-len(rows) // config.batch_size)  # images; minibatches are nearly equal
    total = rollouts * math.ceil(rollout / config.minibatch_size)
    suffix = ws.runtime.prepare(pieces.suffix)
    optimiser = adamw(pieces.suffix.parameters(), ws.config.reward.lr)
    step = images = 0
    queue: list[Tensor] = []
    for _ in tqdm(range(rollouts), "distillation", unit="rollout", leave=False, disable=None):
        queue = queue or list(minibatches(rows, config.batch_size, random))
        inputs, log_ref, reward = environment.inputs(features, queue.pop(), random, views=config.augment)
        log_pi = log_policy(forward(pieces.suffix, inputs))
        metrics.add(images=images, **asdict(policy_metrics(log_pi, log_ref, reward, beta)))
        target = log_optimal_policy(log_ref, reward, beta).exp()
        suffix.train()
        for part in minibatches(torch.arange(len(inputs)), config.minibatch_size, random):
            set_lr(optimiser, ws.config.reward.lr * warmup_cosine(step, total, config.warmup_fraction))
            with features.autocast():
                logits = suffix(inputs.batch(part))
            log_new = log_policy(logits)
            loss = -(target[part].to(log_new.device) * log_new).sum(-1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step, images = step + 1, images + len(part)
    pieces.suffix.eval()
    return images


def ppo_variants(rollouts: int) -> dict[str, dict[str, Any]]:
    """PPO settings of each method; methods that use each rollout once draw `rollouts` of them."""
    once = {"epochs": 1, "clip": None, "target_kl": None, "iterations": rollouts}
    plain = {"surrogate": "ratio", "baseline": "exact", "temperature": 1.0}
    return {
        "A2C": {**plain, **once, "estimator": "critic"},
        "REINFORCE": {**plain, **once, "estimator": "sampled", "surrogate": "score", "baseline": "mean"},
        "PPO, sampled": {**plain, "estimator": "sampled"},
        "PPO from the reference": {**plain, "estimator": "expected", "start": "reference"},
        "PPO from the reward model": {**plain, "estimator": "expected", "start": "reward"},
        "PPO, beta auto": {**plain, "estimator": "expected", "beta": "auto"},
        "PPO, expected": {**plain, "estimator": "expected"},
    }
