"""The preference comparisons of `imitation` on one seed, for benchmarks/control.py.

It runs in an environment of its own, with imitation, gymnasium and stable-baselines3 alone: their versions differ from this
project's. Settings come as JSON in the first argument; the result is a line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np


def train(task: dict[str, Any]) -> float:
    """The true return after learning from simulated comparisons of a perfectly rational teacher.

    Reward network, its training, the agent and the number of iterations are those of the example in imitation's
    documentation of preference comparisons (version 1.0), with the 60 iterations that it advises.

    Args:
        task: environment, n_envs, seed, steps, comparisons, segment_length, episodes.
    """
    from imitation.algorithms import preference_comparisons as pc
    from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
    from imitation.rewards.reward_nets import BasicRewardNet
    from imitation.util.networks import RunningNorm
    from imitation.util.util import make_vec_env
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy

    random = np.random.default_rng(task["seed"])
    envs = make_vec_env(task["environment"], rng=random, n_envs=task["n_envs"])
    reward = BasicRewardNet(envs.observation_space, envs.action_space, normalize_input_layer=RunningNorm)
    agent = PPO(
        FeedForward32Policy,
        envs,
        seed=task["seed"],
        n_steps=2048 // task["n_envs"],
        clip_range=0.1,
        ent_coef=0.01,
        gae_lambda=0.95,
        n_epochs=10,
        gamma=0.97,
        learning_rate=2e-3,
        policy_kwargs={
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": RunningNorm},
        },
    )
    trainer = pc.BasicRewardTrainer(pc.PreferenceModel(reward), pc.CrossEntropyRewardLoss(), rng=random, epochs=10)
    learner = pc.PreferenceComparisons(
        pc.AgentTrainer(agent, reward, envs, rng=random, exploration_frac=0.05),
        reward,
        num_iterations=60,
        fragmenter=pc.RandomFragmenter(rng=random, warning_threshold=0),
        preference_gatherer=pc.SyntheticGatherer(temperature=0.0, rng=random),
        reward_trainer=trainer,
        fragment_length=task["segment_length"],
        initial_comparison_frac=0.1,
        initial_epoch_multiplier=4,
        query_schedule="hyperbolic",
        allow_variable_horizon=True,
    )
    learner.train(total_timesteps=task["steps"], total_comparisons=task["comparisons"])
    evaluation = make_vec_env(task["environment"], rng=np.random.default_rng(task["seed"] + 1000), n_envs=4)
    mean, _ = evaluate_policy(agent.policy, evaluation, task["episodes"], deterministic=True)
    return float(mean)


if __name__ == "__main__":
    found = train(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps({"true_return": found}) + "\n")
