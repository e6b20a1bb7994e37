"""Where a policy stands, exactly: on the images it trains on, on held-out ones, and beside gold labels where they exist."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.feature_cache import Features
from pipeline.data.gold_labels import folder_labels
from pipeline.data.score_tables import score
from pipeline.learning.environment import Environment
from pipeline.learning.objective import Standing, standing
from pipeline.learning.statistics import gold_accuracy
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Stream, generator


def evaluate(environment: Environment, log_pi: Tensor, beta: float) -> dict[str, Any]:
    """Standing of a policy log_pi [N, C] on all training and all held-out images, and its accuracy on the evaluation's."""
    ws = environment.ws

    def of(rows: Tensor) -> Standing:
        return standing(log_pi[rows], environment.log_ref[rows], environment.reward[rows], beta)

    train, heldout = of(ws.rows("train")), of(ws.rows("heldout"))
    gold = folder_labels(ws.table, ws.classes)
    return {
        "accuracy": gold_accuracy(log_pi, gold, ws.table.rows("evaluation")),
        **asdict(train),
        "attained_heldout": heldout.attained,
        "kl_heldout": heldout.kl,
        "J_heldout": heldout.J,
    }


class Gauge:
    """Measures the policy at every iteration on the same held-out images, and now and then on every image.

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
        gold = folder_labels(ws.table, ws.classes)
        known = gold.known[rows.numpy()]
        self._known = torch.from_numpy(known)
        self._labels = torch.from_numpy(gold.labels[rows.numpy()])[self._known]

    def heldout(self, beta: float) -> dict[str, float | None]:
        """Proxy and gold on the held-out images: what over-optimisation is seen by (Gao et al. 2022).

        Returns:
            J, attained, kl, mean reward and mean spread of the ensemble's rewards, under the policy; the policy's
            probability of the true class and its accuracy, where classes are known.
        """
        of = self.environment
        log_pi = log_policy(score(self.suffix, self.features, self.rows))
        stands = standing(log_pi, of.log_ref[self.rows], of.reward[self.rows], beta)
        found: dict[str, float | None] = {
            "J_heldout": stands.J,
            "attained_heldout": stands.attained,
            "kl_heldout": stands.kl,
            "reward_heldout": stands.reward,
            "spread_heldout": None,
            "gold_heldout": None,
            "accuracy_heldout": None,
        }
        if of.spread is not None:
            found["spread_heldout"] = float((log_pi.exp() * of.spread[self.rows]).sum(-1).mean())
        if len(self._labels):
            known = log_pi[self._known]
            found["gold_heldout"] = float(known.gather(-1, self._labels[:, None]).exp().mean())
            found["accuracy_heldout"] = float((known.argmax(-1) == self._labels).double().mean())
        return found

    def everything(self, beta: float, iteration: int) -> dict[str, float | None]:
        """Attained on all training images and accuracy on all evaluation images, every `evaluate_every` iterations.

        Not before the first update, where both are the reference's, nor after the last, which the stage measures itself.
        """
        if iteration % self.config.evaluate_every or iteration in (0, self.config.iterations):
            return {"attained_train": None, "accuracy": None}
        made = evaluate(self.environment, log_policy(score(self.suffix, self.features)), beta)
        return {"attained_train": made["attained"], "accuracy": made["accuracy"]}
