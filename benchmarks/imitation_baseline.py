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

    Args:
        task: environment, n_envs, seed, steps, comparisons, rounds, segment_length, episodes, gamma, lr, settings.
    """
    from imitation.algorithms import preference_comparisons as pc
    from imitation.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet, RewardEnsemble
    from imitation.util.networks import RunningNorm
    from imitation.util.util import make_vec_env
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy

    random = np.random.default_rng(task["seed"])
    envs = make_vec_env(task["environment"], rng=random, n_envs=task["n_envs"])
    spaces = (envs.observation_space, envs.action_space)
    members = [
        NormalizedRewardNet(BasicRewardNet(*spaces, hid_sizes=(64, 64), normalize_input_layer=RunningNorm), RunningNorm)
        for _ in range(3)
    ]
    ensemble = RewardEnsemble(*spaces, members)
    preferences = pc.PreferenceModel(ensemble)
    trainer = pc.EnsembleTrainer(
        preferences, pc.CrossEntropyRewardLoss(), rng=random, epochs=10, batch_size=32, minibatch_size=32
    )
    fragmenter = pc.ActiveSelectionFragmenter(
        preference_model=preferences,
        base_fragmenter=pc.RandomFragmenter(rng=random, warning_threshold=0),
        fragment_sample_factor=10,
    )
    agent = PPO("MlpPolicy", envs, gamma=task["gamma"], learning_rate=task["lr"], seed=task["seed"], **task["settings"])
    learner = pc.PreferenceComparisons(
        pc.AgentTrainer(agent, ensemble, envs, rng=random, exploration_frac=0.05),
        ensemble,
        num_iterations=task["rounds"],
        fragmenter=fragmenter,
        preference_gatherer=pc.SyntheticGatherer(temperature=0.0, rng=random),
        reward_trainer=trainer,
        fragment_length=task["segment_length"],
        initial_comparison_frac=1 / task["rounds"],
        initial_epoch_multiplier=4,
        query_schedule="constant",
        allow_variable_horizon=True,
    )
    learner.train(total_timesteps=task["steps"], total_comparisons=task["comparisons"])
    evaluation = make_vec_env(task["environment"], rng=np.random.default_rng(task["seed"] + 1000), n_envs=4)
    mean, _ = evaluate_policy(agent.policy, evaluation, task["episodes"], deterministic=True)
    return float(mean)


if __name__ == "__main__":
    found = train(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps({"true_return": found}) + "\n")
