"""What can go wrong while PPO runs (it diverges, or it exploits the reward model), and which iterate is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.errors import UserError
from pipeline.learning.objective import PolicyMetrics
from pipeline.run.workspace import Workspace

SPREAD_GROWTH_LIMIT = 1.25  # the ensemble's spread has grown when it is this many times its first value

log = logging.getLogger(__name__)


class Diverged(Exception):
    """PPO diverged (NaN, Inf, or a KL that exploded); the message says how."""


def check_divergence(metrics: PolicyMetrics, config: PPOConfig) -> None:
    """Raise Diverged if J or the KL of a rollout is NaN or Inf, or if the KL exceeds its limit."""
    limit = config.max_kl or 3 * metrics.kl_star + 1
    if not (abs(metrics.J) < float("inf") and metrics.kl < float("inf")):
        raise Diverged("the policy's probabilities are not finite numbers")
    if metrics.kl > limit:
        raise Diverged(f"its KL to the reference is {metrics.kl:.2f} nats, the optimum's {metrics.kl_star:.2f}")


Weights = dict[str, Tensor]


@dataclass
class IterateSelection:
    """Which iterate becomes the policy: the last good one, or that of the best held-out objective.

    Attributes:
        keep: last or best_heldout.
        good, best: number of updates made, and the weights after them.
        best_objective: held-out J of `best`.
    """

    keep: Literal["last", "best_heldout"]
    good: tuple[int, Weights] | None = None
    best: tuple[int, Weights] | None = None
    best_objective: float = -float("inf")

    def consider(self, iteration: int, heldout_objective: float | None, weights: Weights) -> None:
        """Take note of a copy of weights that passed every check, after `iteration` updates."""
        self.good = (iteration, weights)
        if self.keep == "best_heldout" and heldout_objective is not None and heldout_objective > self.best_objective:
            self.best, self.best_objective = self.good, heldout_objective

    def select(self) -> tuple[int, Weights]:
        """The iterate to keep.

        Raises:
            UserError: not even the first one was good.
        """
        chosen = self.best or self.good
        if chosen is None:
            raise UserError(
                "the reference itself has no finite probabilities; train it again with a lower reference.lr"
            )
        return chosen


@dataclass
class OverOptimisationCheck:
    """Warns, once, when the ensemble's spread about what the policy chooses grows while its mean reward rises.

    Attributes:
        first: held-out reward and spread before the first update.
        warned: whether the warning was given.
    """

    first: dict[str, float] = field(default_factory=dict)
    warned: bool = False

    def check(self, iteration: int, metrics: dict[str, float | None]) -> None:
        """Compare held-out reward and spread of one iteration with the first; without an ensemble there is no spread."""
        reward, spread = metrics["reward_heldout"], metrics["spread_heldout"]
        if reward is None or spread is None or self.warned:
            return
        if not self.first:
            self.first = {"reward": reward, "spread": spread}
        elif reward > self.first["reward"] and spread > SPREAD_GROWTH_LIMIT * self.first["spread"]:
            self.warned = True
            log.warning(
                "since PPO began (iteration %d now) the reward of what the policy chooses has risen from %.2f to %.2f, and "
                "the reward networks' disagreement about it from %.2f to %.2f: it may be exploiting the reward model. Raise "
                "ppo.beta or reward.pessimism, or collect judgments of what it chooses",
                iteration,
                self.first["reward"],
                reward,
                self.first["spread"],
                spread,
            )


def refuse_chance(ws: Workspace) -> None:
    """Raise UserError if the reward model's card says that it is no better than chance: PPO would align with noise."""
    verdict = ws.run.read("reward", "card.json", "verdict")["verdict"]
    if verdict["short"] == "no better than chance":
        raise UserError(
            f"the reward model is no better than chance ({verdict['why']}); see {ws.run.path / 'reward' / 'card.html'}, or "
            "use FORCE=1 to run PPO all the same"
        )
