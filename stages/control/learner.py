"""PreferenceLearner: all that changes from round to round, and its checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from pipeline.control.config import ControlConfig
from pipeline.control.reward_ensemble import RewardEnsemble
from pipeline.control.rewards import LearnedReward, StateEntropy, true_reward
from pipeline.errors import UserError
from stages.control.ask import Returns
from stages.control.evaluate import agent_returns, random_returns
from stages.control.fit import FittedReward
from stages.control.trainer import Trainer

Row = dict[str, Any]


class PreferenceLearner:
    """An agent and what it learns from.

    Attributes:
        rows: of rounds.csv, one per finished round.
        ensemble: the newest reward model; None before the first round.
        random_return: mean true return of random actions.
        next_round: number of the round that comes next; -1: pre-training comes next.
    """

    def __init__(self, config: ControlConfig, *, learned: bool = True) -> None:
        settings = config.pretraining
        self.config, self.learned = config, learned
        pre = StateEntropy(settings.neighbours, settings.states) if learned else true_reward
        self.trainer = Trainer(config, pre, keep_states=learned and config.collect.teacher == "people")
        self._check_lengths()
        self.ensemble: RewardEnsemble | None = None
        self.returns = Returns()
        self.rows: list[Row] = []
        self.random_return = float("nan")
        self.next_round = -1

    def _check_lengths(self) -> None:
        config, limit = self.config, self.trainer.spaces.max_steps
        if limit is not None and config.collect.segment_length > limit:
            raise UserError(
                f"collect.segment_length is {config.collect.segment_length}, longer than an episode of "
                f"{config.environment.id} ({limit} steps); use e.g. {max(2, min(25, limit))}"
            )
        if config.pretraining.steps >= config.agent.steps:
            raise UserError(
                f"pretraining.steps is {config.pretraining.steps}, not less than agent.steps ({config.agent.steps}), which "
                "count them; lower it"
            )

    def pretrain(self) -> None:
        """The steps before the first question, and the return of random actions."""
        settings = self.config.pretraining
        self.random_return = float(random_returns(self.config, self.trainer.env.action_space).mean())
        if self.learned and settings.reward == "none":
            self.trainer.act_at_random(settings.steps, 0)
        else:
            self.trainer.learn(settings.steps, 0)
        self.next_round = 0

    def use(self, fitted: FittedReward) -> None:
        """A new reward model: relabel, and learn from it."""
        self.ensemble = fitted.ensemble
        self.trainer.use_reward(self.learned_reward())

    def learned_reward(self) -> LearnedReward:
        assert self.ensemble is not None
        return LearnedReward(self.ensemble, self.config.reward.pessimism)

    def learn(self, rounds: int) -> None:
        """The environment steps of the next round of `rounds`."""
        first, whole = self.config.pretraining.steps, self.config.agent.steps
        until = first + round((whole - first) * (self.next_round + 1) / rounds)
        self.trainer.env.finished.clear()
        self.trainer.learn(until, self.next_round + 1)

    def measure(self) -> Row:
        """Steps so far, and true returns of the agent now."""
        returns = agent_returns(self.config, self.trainer.agent)
        trained = self.trainer.env.finished
        return {
            "round": self.next_round,
            "steps": self.trainer.steps,
            "true_return": float(returns.mean()),
            "true_return_sd": float(returns.std(ddof=1)) if len(returns) > 1 else None,
            "training_return": float(np.mean(trained)) if trained else None,
        }

    def state(self) -> dict[str, Any]:
        return {
            "trainer": self.trainer.state(),
            "ensemble": self.ensemble and self.ensemble.state_dict(),
            "returns": asdict(self.returns),
            "rows": self.rows,
            "random_return": self.random_return,
            "next_round": self.next_round,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.trainer.restore(saved["trainer"])
        if saved["ensemble"] is not None:
            spaces, settings = self.trainer.spaces, self.config.reward
            self.ensemble = RewardEnsemble(
                spaces.observation, spaces.action, settings.hidden, settings.members, torch.Generator()
            )
            self.ensemble.load_state_dict(saved["ensemble"])
            self.trainer.env.source = self.learned_reward()
        self.returns = Returns(**saved["returns"])
        self.rows, self.random_return = saved["rows"], saved["random_return"]
        self.next_round = saved["next_round"]

    def save(self, folder: Any) -> list[str]:
        """Write the agent, as stable-baselines3 loads it, and the reward model; returns the files' names."""
        agent = self.trainer.agent
        agent.learning_rate, schedule = self.config.agent.lr, agent.lr_schedule
        agent.save(folder / "policy.zip", exclude=["lr_schedule"])
        agent.learning_rate = schedule
        if self.ensemble is None:
            return ["policy.zip"]
        torch.save(self.ensemble.state_dict(), folder / "reward.pt")
        return ["policy.zip", "reward.pt"]
