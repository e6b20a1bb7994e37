"""Exact evaluation of a policy on training and held-out images, and against gold labels where classes are known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.feature_cache import Features
from pipeline.data.gold_labels import read_gold_labels
from pipeline.data.score_tables import score
from pipeline.learning.environment import Environment
from pipeline.learning.objective import PolicyMetrics, policy_metrics
from pipeline.learning.statistics import gold_accuracy
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Stream, generator


def evaluate(environment: Environment, log_pi: Tensor, beta: float) -> dict[str, Any]:
    """Metrics of a policy log_pi [N, C] on all training and held-out images, and its accuracy on evaluation images.

    Args:
        beta: of the KL controller, in force now.
    """
    ws = environment.ws

    def measure(rows: Tensor) -> PolicyMetrics:
        return policy_metrics(log_pi[rows], environment.log_ref[rows], environment.reward[rows], beta)

    train, heldout = measure(ws.rows("train")), measure(ws.rows("heldout"))
    gold = read_gold_labels(ws.table, ws.classes)
    return {
        "accuracy": gold_accuracy(log_pi, gold, ws.table.rows("evaluation")),
        **asdict(train),
        "attained_heldout": heldout.attained,
        "kl_heldout": heldout.kl,
        "J_heldout": heldout.J,
    }


class Evaluator:
    """Evaluates the policy at every iteration on the same held-out images, and periodically on every image.

    Args:
        suffix, features: of the policy.
    """

    def __init__(self, environment: Environment, suffix: nn.Module, features: Features) -> None:
        self.environment, self.suffix, self.features = environment, suffix, features
        ws = environment.ws
        self.config = ws.config.ppo
        rows = ws.rows("heldout")
        if len(rows) > self.config.heldout_images:
            order = torch.randperm(len(rows), generator=generator(ws.config.seed, Stream.HELDOUT_SAMPLE))
            rows = rows[order[: self.config.heldout_images]].sort().values
        self.rows = rows
        gold = read_gold_labels(ws.table, ws.classes)
        known = gold.known[rows.numpy()]
        self._known = torch.from_numpy(known)
        self._labels = torch.from_numpy(gold.labels[rows.numpy()])[self._known]

    def evaluate_heldout(self, beta: float) -> dict[str, float | None]:
        """Proxy and gold reward on the held-out images, to detect over-optimisation (Gao et al. 2022).

        Returns:
            J, attained, kl, mean reward and mean spread of the ensemble's rewards, under the policy; the policy's
            probability of the true class and its accuracy, where classes are known.
        """
        tables = self.environment
        log_pi = log_policy(score(self.suffix, self.features, self.rows))
        policy = policy_metrics(log_pi, tables.log_ref[self.rows], tables.reward[self.rows], beta)
        metrics: dict[str, float | None] = {
            "J_heldout": policy.J,
            "attained_heldout": policy.attained,
            "kl_heldout": policy.kl,
            "reward_heldout": policy.reward,
            "spread_heldout": None,
            "gold_heldout": None,
            "accuracy_heldout": None,
        }
        if tables.spread is not None:
            metrics["spread_heldout"] = float((log_pi.exp() * tables.spread[self.rows]).sum(-1).mean())
        if len(self._labels):
            known = log_pi[self._known]
            metrics["gold_heldout"] = float(known.gather(-1, self._labels[:, None]).exp().mean())
            metrics["accuracy_heldout"] = float((known.argmax(-1) == self._labels).double().mean())
        return metrics

    def evaluate_all(self, beta: float, iteration: int) -> dict[str, float | None]:
        """Attained on all training images and accuracy on all evaluation images, every `evaluate_every` iterations.

        Not before the first update, where both are the reference's, nor after the last, which the stage evaluates itself.
        """
        if iteration % self.config.evaluate_every or iteration in (0, self.config.iterations):
            return {"attained_train": None, "accuracy": None}
        result = evaluate(self.environment, log_policy(score(self.suffix, self.features)), beta)
        return {"attained_train": result["attained"], "accuracy": result["accuracy"]}
