"""What may go wrong while PPO runs: it diverges, or it exploits the reward model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import click
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.errors import UserError
from pipeline.learning.objective import Standing
from stages.ppo.rollout import Diverged

GROWN = 1.25  # times its first value: the ensemble's spread has grown


def check_standing(stands: Standing, config: PPOConfig) -> None:
    """Raise Diverged if the policy's figures are no numbers, or its KL has exploded."""
    limit = config.max_kl or 3 * stands.kl_star + 1
    if not (abs(stands.J) < float("inf") and stands.kl < float("inf")):
        raise Diverged("the policy's probabilities are not finite numbers")
    if stands.kl > limit:
        raise Diverged(f"its KL to the reference is {stands.kl:.2f} nats, the optimum's {stands.kl_star:.2f}")


Weights = dict[str, Tensor]


@dataclass
class Keeper:
    """Which iterate becomes the policy: the last good one, or that of the best held-out objective.

    Attributes:
        keep: last or best_heldout.
        good, best: weights, and the number of updates they have seen.
    """

    keep: Literal["last", "best_heldout"]
    good: tuple[int, Weights] | None = None
    best: tuple[int, Weights] | None = None
    best_objective: float = -float("inf")

    def consider(self, iteration: int, heldout_objective: float | None, weights: Weights) -> None:
        """A copy of weights that passed every check, after `iteration` updates."""
        self.good = (iteration, weights)
        if self.keep == "best_heldout" and heldout_objective is not None and heldout_objective > self.best_objective:
            self.best, self.best_objective = self.good, heldout_objective

    def choice(self) -> tuple[int, Weights]:
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
class OverOptimisation:
    """Says so, once, when the ensemble disagrees ever more about what the policy chooses while its mean still rises."""

    first: dict[str, float] = field(default_factory=dict)
    warned: bool = False

    def look(self, iteration: int, measured: dict[str, float | None]) -> None:
        """Held-out reward and spread of one iteration; without an ensemble there is nothing to see."""
        reward, spread = measured["reward_heldout"], measured["spread_heldout"]
        if reward is None or spread is None or self.warned:
            return
        if not self.first:
            self.first = {"reward": reward, "spread": spread}
        elif reward > self.first["reward"] and spread > GROWN * self.first["spread"]:
            self.warned = True
            click.echo(
                f"warning: since PPO began (iteration {iteration} now) the reward of what the policy chooses has risen from "
                f"{self.first['reward']:.2f} to {reward:.2f}, and the reward networks' disagreement about it from "
                f"{self.first['spread']:.2f} to {spread:.2f}: it may be exploiting the reward model. Raise ppo.beta or "
                "reward.pessimism, or collect judgments of what it chooses",
                err=True,
            )
