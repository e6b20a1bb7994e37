"""Agents: PPO, A2C and DQN of stable-baselines3, built from settings, saved and restored without pickle."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from feedback_store.registry import Registry
from pipeline.control.config import AgentConfig
from pipeline.control.environments import Spaces
from pipeline.control.rewards import RewardSource
from pipeline.errors import UserError

State = dict[str, Any]
OWN = {"policy", "env", "learning_rate", "gamma", "seed", "device", "verbose", "policy_kwargs", "tensorboard_log"}
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls", "exploration_rate")


class LearningRate:
    """The learning rate at the agent's present step, of all steps of the run; stable-baselines3 counts only one round's."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.agent: Any = None

    def __call__(self, _: float) -> float:
        if self.config.lr_schedule == "constant" or self.agent is None:
            return self.config.lr
        return self.config.lr * max(1 - self.agent.num_timesteps / self.config.steps, 1e-3)


class AgentKind(Protocol):
    """A kind of agent.

    Attributes:
        continuous: whether it has continuous actions.
    """

    continuous: ClassVar[bool]

    def build(self, env: Any, config: AgentConfig, seed: int) -> Any:
        """The agent, of stable-baselines3."""

    def state(self, agent: Any) -> State:
        """What `restore` needs, as tensors, numbers and dictionaries."""

    def restore(self, agent: Any, state: State) -> None: ...

    def relabel(self, agent: Any, spaces: Spaces, source: RewardSource, scale: float) -> None:
        """Give stored transitions the rewards of `source`, divided by `scale`."""


@dataclass(frozen=True)
class OnPolicy:
    """PPO and A2C: they keep no transitions, so a rollout after a reward update has the new rewards by itself.

    Attributes:
        name: of the class in stable-baselines3.
    """

    name: str
    continuous: ClassVar[bool] = True

    def build(self, env: Any, config: AgentConfig, seed: int) -> Any:
        import stable_baselines3

        kind = getattr(stable_baselines3, self.name)
        check_settings(kind, config)
        rate = LearningRate(config)
        try:
            agent = kind(
                "MlpPolicy",
                env,
                learning_rate=rate,
                gamma=config.gamma,
                seed=seed,
                device="cpu",
                policy_kwargs={"net_arch": list(config.hidden)},
                **config.settings,
            )
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(
                f"agent.settings: {self.name} of stable-baselines3 refuses them ({error}); correct them"
            ) from None
        rate.agent = agent
        return agent

    def state(self, agent: Any) -> State:
        counters = {name: getattr(agent, name) for name in COUNTERS if hasattr(agent, name)}
        return {"parameters": agent.get_parameters(), "counters": counters}

    def restore(self, agent: Any, state: State) -> None:
        agent.set_parameters(state["parameters"], exact_match=True, device="cpu")
        for name, value in state["counters"].items():
            setattr(agent, name, value)

    def relabel(self, agent: Any, spaces: Spaces, source: RewardSource, scale: float) -> None:
        pass


class OffPolicy(OnPolicy):
    """DQN: its replay buffer is saved, and relabelled after each reward update."""

    continuous: ClassVar[bool] = False
    ARRAYS: ClassVar = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

    def state(self, agent: Any) -> State:
        buffer = agent.replay_buffer
        size = buffer.buffer_size if buffer.full else buffer.pos
        arrays = {name: torch.from_numpy(getattr(buffer, name)[:size].copy()) for name in self.ARRAYS}
        return super().state(agent) | {"replay": arrays, "position": buffer.pos, "full": buffer.full}

    def restore(self, agent: Any, state: State) -> None:
        super().restore(agent, state)
        buffer = agent.replay_buffer
        for name, stored in state["replay"].items():
            getattr(buffer, name)[: len(stored)] = stored.numpy()
        buffer.pos, buffer.full = state["position"], state["full"]

    def relabel(self, agent: Any, spaces: Spaces, source: RewardSource, scale: float) -> None:
        buffer = agent.replay_buffer
        size = buffer.buffer_size if buffer.full else buffer.pos
        for env in range(buffer.observations.shape[1]):
            obs, actions = buffer.observations[:size, env], spaces.encode(buffer.actions[:size, env])
            rewards = source(obs, actions, np.zeros(size))
            buffer.rewards[:size, env] = rewards / scale


agents: Registry[AgentKind] = Registry("agent", "image_rlhf.agents")
agents.register("ppo", OnPolicy("PPO"))
agents.register("a2c", OnPolicy("A2C"))
agents.register("dqn", OffPolicy("DQN"))


def check_settings(kind: type, config: AgentConfig) -> None:
    """Raise UserError for settings that the agent's class does not have, or that have a setting of their own."""
    accepted = [name for name in inspect.signature(kind).parameters if name not in OWN]
    for name in config.settings:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=1, cutoff=0.0)[0]
            raise UserError(f"agent.settings: {kind.__name__} has no setting '{name}' here; did you mean '{near}'?")


def check_agent(config: AgentConfig, spaces: Spaces) -> None:
    """Raise UserError if the agent cannot have the environment's actions."""
    if not spaces.actions and not agents.get(config.kind).continuous:
        raise UserError(
            f"agent.kind: {config.kind} needs numbered actions (Discrete), and the environment's are continuous; use ppo or a2c"
        )
