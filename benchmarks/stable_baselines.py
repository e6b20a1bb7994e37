"""Comparison with stable-baselines3's PPO on the same bandit, network and schedule: a linear head, one-step episodes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import gymnasium
import numpy as np
import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Inputs
from pipeline.learning.objective import policy_metrics
from pipeline.learning.optimisers import warmup_linear
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Runtime
from stages.ppo.learner import Learner
from stages.ppo.update import update

IMAGES, FEATURES, CLASSES, BETA = 2048, 64, 10, 0.3
ITERATIONS, EPOCHS, MINIBATCH, LR = 60, 4, 256, 0.02
TARGET_ATTAINED = 0.95
CPU = torch.device("cpu")


class Problem:
    """Images with features from which a linear head can represent pi*; the reference is uniform."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.x = random.standard_normal((IMAGES, FEATURES)).astype(np.float32)
        raw = self.x @ random.standard_normal((FEATURES, CLASSES)).astype(np.float32) / np.sqrt(FEATURES)
        self.reward = torch.from_numpy(raw - raw.mean(1, keepdims=True))
        self.log_ref = torch.full((IMAGES, CLASSES), -float(np.log(CLASSES)))

    def attained(self, log_pi: Tensor) -> float:
        return policy_metrics(log_pi, self.log_ref, self.reward, BETA).attained


class Episode(gymnasium.Env[np.ndarray, np.int64]):
    """One image, one class, one reward minus beta (log pi_old - log pi_ref), as RLHF with stable-baselines3 needs it.

    The environment does not know the old policy's log-probabilities, so `table` is set from the model before a rollout.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.random = problem, np.random.default_rng(seed)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(CLASSES)
        self.table: np.ndarray | None = None  # [N, C] penalised rewards under the old policy

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        self.row = int(self.random.integers(IMAGES))
        return self.problem.x[self.row], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.table is not None
        return self.problem.x[self.row], float(self.table[self.row, int(action)]), True, False, {}


def run_own(problem: Problem, estimator: str) -> tuple[float, float | None]:
    """Samples per second of a complete run, and seconds to `TARGET_ATTAINED` (None if not reached)."""
    config = PPOConfig(
        estimator=estimator,
        beta=BETA,
        iterations=ITERATIONS,
        batch_size=IMAGES,
        epochs=EPOCHS,  # type: ignore[arg-type]
        minibatch_size=MINIBATCH,
        lr=LR,
        warmup_fraction=0.0,
        target_kl=None,
    )
    head = torch.nn.Linear(FEATURES, CLASSES)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    rows = torch.arange(IMAGES)
    inputs = Inputs(Features(None, None, problem.x, CPU), rows)  # type: ignore[arg-type]
    learner = Learner.start(config, Runtime(CPU), Split(head, None, head), rows, seed=0, beta=BETA)
    spent, reached = 0.0, None
    for iteration in range(ITERATIONS):
        begin = time.perf_counter()
        learner.set_lr(iteration)
        update(learner, learner.act(inputs, problem.log_ref, problem.reward))
        spent += time.perf_counter() - begin
        with torch.no_grad():
            if reached is None and problem.attained(log_policy(head(torch.from_numpy(problem.x)))) >= TARGET_ATTAINED:
                reached = spent
    return ITERATIONS * IMAGES / spent, reached


def run_sb3(problem: Problem, parallel: int) -> tuple[float, float | None]:
    """The same for stable-baselines3 with `parallel` environments (its default is one)."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    environments = DummyVecEnv([lambda n=n: Episode(problem, n) for n in range(parallel)])
    model = PPO(
        "MlpPolicy",
        environments,
        n_steps=IMAGES // parallel,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        gamma=0.0,
        gae_lambda=1.0,
        ent_coef=0.0,
        normalize_advantage=False,
        clip_range=0.2,
        max_grad_norm=1.0,
        device="cpu",
        seed=0,
        verbose=0,
        learning_rate=lambda left: LR * warmup_linear(round((1 - left) * ITERATIONS), ITERATIONS, 0.0),
        policy_kwargs={"net_arch": [], "optimizer_kwargs": {"eps": 1e-5}},
    )
    x = torch.from_numpy(problem.x)

    def log_pi() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model.policy.get_distribution(x).distribution.logits
        return log_policy(logits)

    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.zero_()

    class Monitor(BaseCallback):
        """Measures the time without this callback, sets the penalised rewards, and evaluates the policy."""

        def __init__(self) -> None:
            super().__init__()
            self.spent, self.reached, self.begin = 0.0, None, time.perf_counter()

        def _on_rollout_start(self) -> None:
            self.spent += time.perf_counter() - self.begin
            now = log_pi()
            if self.reached is None and problem.attained(now) >= TARGET_ATTAINED:
                self.reached = self.spent
            self.begin = time.perf_counter()
            table = (problem.reward - BETA * (log_pi() - problem.log_ref)).numpy()
            for one in environments.envs:
                one.table = table

        def _on_step(self) -> bool:
            return True

        def _on_training_end(self) -> None:
            self.spent += time.perf_counter() - self.begin

    monitor = Monitor()
    model.learn(ITERATIONS * IMAGES, callback=monitor)
    return ITERATIONS * IMAGES / monitor.spent, monitor.reached


def print_comparison(rounds: int) -> None:
    """Print samples per second, time to the target, and ratios; medians over alternating runs."""
    problem = Problem()
    runners: dict[str, Callable[[], tuple[float, float | None]]] = {
        "expected": lambda: run_own(problem, "expected"),
        "sampled": lambda: run_own(problem, "sampled"),
        "critic": lambda: run_own(problem, "critic"),
        "SB3, 1 environment": lambda: run_sb3(problem, 1),
        "SB3, 64 in parallel": lambda: run_sb3(problem, 64),
    }
    results: dict[str, list[tuple[float, float | None]]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            results[name].append(run())
    for name, runs in results.items():
        speed = statistics.median(run[0] for run in runs)
        versus = ", ".join(
            f"{statistics.median(a[0] / b[0] for a, b in zip(runs, results[other], strict=True)):.1f} times {other}"
            for other in ("SB3, 1 environment", "SB3, 64 in parallel")
        )
        reached = [run[1] for run in runs if run[1] is not None]
        seconds = f"{statistics.median(reached):.2f} s" if reached else "never"
        click.echo(
            f"{name:20} {speed:10,.0f} samples per second ({versus}); time to attained {TARGET_ATTAINED}: {seconds}"
        )
