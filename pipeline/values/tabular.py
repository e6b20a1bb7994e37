"""Learners with a table [S, A] instead of a network: a softmax policy with temperature, and Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.values.environments import ParallelEnvironment
from pipeline.values.exploration import EPSILON, LinearSchedule, epsilon_greedy, sample, softmax_policy
from pipeline.values.returns import collect, complete, gae
from pipeline.values.transitions import Transitions, td_target


@dataclass(frozen=True)
class SoftmaxPolicyConfig:
    """Settings of the softmax policy.

    Attributes:
        iterations: number of updates.
        steps: of every episode before each update; those of unfinished episodes are left out.
        lr: step size of the preferences.
        temperature: preferences are divided by it; the lower, the greedier the policy.
        discount: of the value of the next state, 0 to 1.
    """

    iterations: int
    steps: int = 1
    lr: float = 0.1
    temperature: float = 1.0
    discount: float = 1.0


def learn_softmax_policy(
    environment: ParallelEnvironment,
    preferences: Tensor,
    config: SoftmaxPolicyConfig,
    random: torch.Generator,
) -> Tensor:
    """Preferences H [S, A] of the policy softmax(H / temperature), by policy gradient (REINFORCE; Williams 1992).

    On a bandit it is the gradient bandit algorithm (Sutton and Barto 2018, section 2.8). The baseline is the mean return
    of each state in the same update.

    Args:
        preferences: initial H; it is not changed.
    """
    state = environment.reset()
    for _ in range(config.iterations):
        log_pi = softmax_policy(preferences, config.temperature)
        made = collect(environment, state, partial(_draw, log_pi, random), config.steps)
        state = made.last_state
        nothing = torch.zeros_like(made.reward)  # values of zero and lambda 1: gae is the whole return
        returns = gae(made.reward, made.terminal, nothing, nothing[0], discount=config.discount, decay=1.0)
        ended = complete(made.terminal)
        preferences = preferences + config.lr * policy_gradient(
            log_pi, made.state[ended], made.action[ended], returns[ended], temperature=config.temperature
        )
    return preferences


def _draw(log_pi: Tensor, random: torch.Generator, state: Tensor) -> Tensor:
    return sample(log_pi[state], random)


def policy_gradient(log_pi: Tensor, state: Tensor, action: Tensor, returns: Tensor, *, temperature: float) -> Tensor:
    """Gradient [S, A] of the expected return by the preferences: mean of (G - b(s)) (1[a] - pi(.|s)) / temperature.

    Args:
        log_pi: [S, A]; state, action, returns: [B] of the steps; b(s) is the mean return of the steps in s.
    """
    count = torch.zeros(len(log_pi)).index_add(0, state, torch.ones(len(state)))
    baseline = torch.zeros(len(log_pi)).index_add(0, state, returns) / count.clamp_min(1)
    score = -log_pi[state].exp()
    score[torch.arange(len(state)), action] += 1
    weighted = (returns - baseline[state])[:, None] * score / temperature
    return torch.zeros_like(log_pi).index_add(0, state, weighted) / max(1, len(state))


@dataclass(frozen=True)
class QLearningConfig:
    """Settings of Q-learning.

    Attributes:
        steps: that the environment makes, each in all its parallel episodes.
        lr: step size.
        discount: of the value of the next state, 0 to 1.
        epsilon: probability of a random action.
    """

    steps: int
    lr: float = 0.1
    discount: float = 0.99
    epsilon: LinearSchedule = EPSILON


def learn_q(environment: ParallelEnvironment, q: Tensor, config: QLearningConfig, random: torch.Generator) -> Tensor:
    """Q-values [S, A] by Q-learning (Watkins 1989) with epsilon-greedy actions, from the table `q`, which is not changed."""
    state = environment.reset()
    for step in range(config.steps):
        action = epsilon_greedy(q[state], config.epsilon.at(step, config.steps), random)
        after = environment.step(action)
        made = Transitions(state, action, after.reward, after.state, after.terminal)
        q, state = q_update(q, made, config.lr, config.discount), after.state
    return q


def q_update(q: Tensor, made: Transitions, lr: float, discount: float) -> Tensor:
    """Q(s, a) + lr (r + discount max_b Q(s', b) - Q(s, a)) for every transition; those of one (s, a) share the step."""
    target = td_target(made, lambda states: q[states], discount)
    place = made.state * q.shape[1] + made.action
    flat = q.flatten()
    error = torch.zeros_like(flat).index_add(0, place, target - flat[place])
    count = torch.zeros_like(flat).index_add(0, place, torch.ones_like(target))
    return (flat + lr * error / count.clamp_min(1)).view_as(q)
