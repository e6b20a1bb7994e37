"""The methods of the comparison: PPO, and the baselines it is compared with (docs/method.md 9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.config import Config, parse_config
from pipeline.data.feature_cache import Features
from pipeline.learning.environment import Environment, configured_beta
from pipeline.learning.objective import kl, log_optimal_policy
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.compare.exact_optimum import best_of_n, greedy, n_of_kl
from stages.compare.trained_baselines import distil, dpo_pieces, ppo_variants
from stages.compare.value_baselines import VALUE_METHODS, dqn_policy, q_table

REFERENCE, SUPERVISED, ARGMAX, OPTIMUM, BEST_OF_N = (
    "reference",
    "supervised",
    "argmax of the reward",
    "pi*",
    "best-of-n",
)
DISTILLATION, DPO, PPO = "distillation of pi*", "DPO", "PPO, expected"
SUPERVISED_LONG = "supervised, as many images as PPO"
PPO_AUTO = "PPO, beta auto"
METHODS = (
    REFERENCE,
    SUPERVISED,
    SUPERVISED_LONG,
    ARGMAX,
    OPTIMUM,
    BEST_OF_N,
    DISTILLATION,
    DPO,
    "A2C",
    "REINFORCE",
    "PPO, sampled",
    "PPO from the reference",
    "PPO from the reward model",
    PPO_AUTO,
    *VALUE_METHODS,
    PPO,
)
OF_BUDGET = (SUPERVISED_LONG, DISTILLATION, "A2C", "REINFORCE", *VALUE_METHODS)  # trained on as many images as PPO
SUPERVISED_MEMBER = 2000  # member number, for random streams, of supervised learning and DPO


@dataclass(frozen=True)
class Learners:
    """Functions of other stages, passed in by the command line, since stages do not import each other.

    Attributes:
        prepare: makes reference, judgments and reward model of a configuration.
        likelihood: fits the suffix of a network to the judgments, with random streams of a number, on about so many
            images if they are given; returns the number of images trained on.
        align: PPO with section `ppo` of the environment's configuration; returns the policy, the number of images trained
            on, and the KL controller's beta at the end.
    """

    prepare: Callable[[Config], None]
    likelihood: Callable[[Workspace, Split, Features, int, int | None], int]
    align: Callable[[Environment, Metrics], tuple[Split, Features, int, float]]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """A method's policy and its cost.

    Attributes:
        log_pi: [N, C] log-probabilities of every image.
        images: number of images it was trained on.
        beta: the KL controller's beta at the end, for methods that have one.
        note: shown next to the method's name.
    """

    log_pi: Tensor
    images: int = 0
    beta: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Budget:
    """Beta and image budget that the other methods inherit from PPO, which runs first.

    Attributes:
        beta: the KL controller's at PPO's end: the only beta of the table. pi*, best-of-n, distillation and DPO aim
            at its optimum, and J and attained of all methods are computed with it.
        images: number of images PPO was trained on: the methods in OF_BUDGET get as many.
    """

    beta: float
    images: int = 0


def methods(
    environment: Environment, learners: Learners, folder: Path, budget: Budget
) -> dict[str, Callable[[], MethodResult]]:
    """Every method by its name, in the order of the table."""
    ws, beta = environment.ws, budget.beta
    log_ref, reward = environment.log_ref, environment.reward

    def best_of_same_kl() -> MethodResult:
        optimum = log_optimal_policy(log_ref, reward, beta)
        rows = ws.rows("train")
        n = n_of_kl(log_ref[rows], reward[rows], float(kl(optimum[rows], log_ref[rows]).mean()))
        return MethodResult(best_of_n(log_ref, reward, n).float(), note=str(n))

    pool = len(ws.rows("train"))
    rollouts = max(1, round(budget.images / pool * -(-pool // ws.config.ppo.batch_size)))
    known: dict[str, Callable[[], MethodResult]] = {
        REFERENCE: lambda: MethodResult(log_ref),
        SUPERVISED: partial(_supervised, environment.ws, learners),
        SUPERVISED_LONG: partial(_supervised_long, environment.ws, learners, budget.images),
        ARGMAX: lambda: MethodResult(greedy(environment.utility)),
        OPTIMUM: lambda: MethodResult(log_optimal_policy(log_ref, reward, beta), note="two networks"),
        BEST_OF_N: best_of_same_kl,
        DISTILLATION: partial(_distilled, environment, beta, rollouts, folder / "distillation.csv"),
        DPO: partial(_dpo, environment, learners, beta),
    }
    for name, settings in ppo_variants(rollouts).items():
        file = folder / f"{name.lower().replace(', ', '-')}.csv"
        known[name] = partial(_aligned, environment, learners, settings, file)
    for name in VALUE_METHODS:
        known[name] = partial(_valued, environment, budget, name, folder / "dqn.csv")
    return known


def _changed(ws: Workspace, section: str, **settings: Any) -> Workspace:
    """The workspace with changed settings of a section, which are validated."""
    tree = ws.config.model_dump(mode="json")
    tree[section] |= settings
    return dataclasses.replace(ws, config=parse_config(tree, "compare"))


def _start(ws: Workspace) -> tuple[Split, Features]:
    return ws.cut(ws.load_policy(ws.run.require("reference", "model.safetensors")), train=True)


def _supervised(ws: Workspace, learners: Learners) -> MethodResult:
    """Supervised training of the policy on the judgments, its logits as utilities, from the reference's weights."""
    pieces, features = _start(ws)
    images = learners.likelihood(ws, pieces, features, SUPERVISED_MEMBER, None)
    return MethodResult(log_policy(ws.scores(pieces, features)), images)


def _supervised_long(ws: Workspace, learners: Learners, images: int) -> MethodResult:
    """The same for as many images as PPO, however many epochs that is; the best epoch is kept all the same."""
    pieces, features = _start(ws)
    trained = learners.likelihood(ws, pieces, features, SUPERVISED_MEMBER, images)
    return MethodResult(log_policy(ws.scores(pieces, features)), trained)


def _dpo(environment: Environment, learners: Learners, beta: float) -> MethodResult:
    ws = environment.ws
    pieces, features = _start(ws)
    model = environment.reward_model
    utility_beta = beta * float(model.scales.mean() * model.scale)
    images = learners.likelihood(ws, dpo_pieces(pieces, utility_beta), features, SUPERVISED_MEMBER, None)
    return MethodResult(log_policy(ws.scores(pieces, features)), images)


def _distilled(environment: Environment, beta: float, rollouts: int, file: Path) -> MethodResult:
    pieces, features = _start(environment.ws)
    with Metrics(file) as metrics:
        images = distil(environment, pieces, features, beta=beta, rollouts=rollouts, metrics=metrics)
    return MethodResult(log_policy(environment.ws.scores(pieces, features)), images)


def _aligned(environment: Environment, learners: Learners, settings: dict[str, Any], file: Path) -> MethodResult:
    ws = _changed(environment.ws, "ppo", **settings)
    beta = configured_beta(ws) if "beta" in settings else environment.beta
    with Metrics(file) as metrics:
        changed = dataclasses.replace(environment, ws=ws, beta=beta)
        pieces, features, images, beta = learners.align(changed, metrics)
    return MethodResult(log_policy(ws.scores(pieces, features)), images, beta)


def _valued(environment: Environment, budget: Budget, name: str, file: Path) -> MethodResult:
    pieces, features = _start(environment.ws)
    with Metrics(file) as metrics:
        q, images = q_table(environment, pieces, features, images=budget.images, metrics=metrics)
    return MethodResult(dqn_policy(q, environment.log_ref, budget.beta, name), images)
