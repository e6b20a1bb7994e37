"""Every way to a policy from the same judgments, run on one seed, each result kept under the hash of all it came from."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from pipeline.config import Config, parse_config
from pipeline.data.feature_cache import Features
from pipeline.data.gold_labels import folder_labels
from pipeline.learning.environment import Environment
from pipeline.learning.objective import kl, log_optimal_policy, standing
from pipeline.learning.statistics import expected_calibration_error, gold_accuracy
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.atomic_files import Damaged, read_json, read_object, sha256_of, short_hash, write_json
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.compare.exact_optimum import best_of_n, greedy, n_of_kl
from stages.compare.trained_baselines import distil, dpo_pieces, ppo_variants

Row = dict[str, Any]
REFERENCE, SUPERVISED, ARGMAX, OPTIMUM, BEST_OF_N = (
    "reference",
    "supervised",
    "argmax of the reward",
    "pi*",
    "best-of-n",
)
DISTILLATION, DPO, PPO = "distillation of pi*", "DPO", "PPO, expected"
NAMES = (
    REFERENCE,
    SUPERVISED,
    ARGMAX,
    OPTIMUM,
    BEST_OF_N,
    DISTILLATION,
    DPO,
    "A2C",
    "REINFORCE",
    "PPO, sampled",
    PPO,
)
STREAM = 2000  # of supervised learning and DPO; members and curves of the reward model have others


@dataclass(frozen=True)
class Learners:
    """Parts of the other stages, handed in by the command line, since stages do not import each other.

    Attributes:
        prepare: makes reference, judgments and reward model of a configuration.
        likelihood: fits the suffix of a network to the judgments; returns the images gone through.
        align: PPO by `ppo` of the workspace's configuration; returns the images gone through.
    """

    prepare: Callable[[Config], None]
    likelihood: Callable[[Workspace, Split, Features, int], int]
    align: Callable[[Environment, Split, Features, Metrics], int]


@dataclass(frozen=True, eq=False)
class Made:
    """A policy: log-probabilities [N, C] of every image, images gone through in training, and what there is to remark."""

    log_pi: Tensor
    images: int = 0
    note: str = ""


def methods(
    environment: Environment, learners: Learners, folder: Path, images: int = 0
) -> dict[str, Callable[[], Made]]:
    """What can be compared, in the order of the table.

    Args:
        images: how many PPO went through, where it has run: distillation, A2C and REINFORCE get as many.
    """
    ws, beta = environment.ws, environment.ws.config.ppo.beta
    log_ref, reward = environment.log_ref, environment.reward

    def best_of() -> Made:
        optimum = log_optimal_policy(log_ref, reward, beta)
        rows = ws.rows("train")
        n = n_of_kl(log_ref[rows], reward[rows], float(kl(optimum[rows], log_ref[rows]).mean()))
        return Made(best_of_n(log_ref, reward, n).float(), note=str(n))

    pool = len(ws.rows("train"))
    rollouts = max(1, round(images / pool * -(-pool // ws.config.ppo.batch_size)))
    known: dict[str, Callable[[], Made]] = {
        REFERENCE: lambda: Made(log_ref),
        SUPERVISED: partial(_supervised, environment, learners),
        ARGMAX: lambda: Made(greedy(reward)),
        OPTIMUM: lambda: Made(log_optimal_policy(log_ref, reward, beta)),
        BEST_OF_N: best_of,
        DISTILLATION: partial(_distilled, environment, rollouts, folder / "distillation.csv"),
        DPO: partial(_dpo, environment, learners),
    }
    for name, settings in ppo_variants(rollouts).items():
        file = folder / f"{name.lower().replace(', ', '-')}.csv"
        known[name] = partial(_aligned, environment, learners, settings, file)
    return known


def _changed(ws: Workspace, ppo: dict[str, Any]) -> Workspace:
    """The workspace with other settings of PPO, checked as any are."""
    tree = ws.config.model_dump(mode="json")
    tree["ppo"] |= ppo
    return dataclasses.replace(ws, config=parse_config(tree, "compare"))


def _start(ws: Workspace) -> tuple[Split, Features]:
    return ws.cut(ws.load_policy(ws.run.require("reference", "model.safetensors")))


def _supervised(environment: Environment, learners: Learners) -> Made:
    """The policy itself as the utility of the judgments, from the reference's weights: what needs no reward model."""
    ws = environment.ws
    pieces, features = _start(ws)
    images = learners.likelihood(ws, pieces, features, STREAM)
    return Made(log_policy(ws.scores(pieces, features)), images)


def _dpo(environment: Environment, learners: Learners) -> Made:
    ws = environment.ws
    pieces, features = _start(ws)
    model = environment.reward_model
    beta = ws.config.ppo.beta * float(model.scales.mean() * model.scale)
    images = learners.likelihood(ws, dpo_pieces(pieces, beta), features, STREAM)
    return Made(log_policy(ws.scores(pieces, features)), images)


def _distilled(environment: Environment, rollouts: int, file: Path) -> Made:
    pieces, features = _start(environment.ws)
    with Metrics(file) as metrics:
        images = distil(environment, pieces, features, metrics, rollouts)
    return Made(log_policy(environment.ws.scores(pieces, features)), images)


def _aligned(environment: Environment, learners: Learners, settings: dict[str, Any], file: Path) -> Made:
    ws = _changed(environment.ws, settings)
    pieces, features = _start(ws)
    with Metrics(file) as metrics:
        images = learners.align(dataclasses.replace(environment, ws=ws), pieces, features, metrics)
    return Made(log_policy(ws.scores(pieces, features)), images)


def measured(environment: Environment, made: Made) -> Row:
    """Accuracy, KL and calibration on the evaluation images; J on the training images; attained on those and held-out."""
    ws, beta = environment.ws, environment.ws.config.ppo.beta
    evaluation = torch.from_numpy(ws.table.rows("evaluation"))
    gold = folder_labels(ws.table, ws.classes)
    known = evaluation[torch.from_numpy(gold.known[evaluation.numpy()])]
    train, heldout = (
        standing(made.log_pi[rows], environment.log_ref[rows], environment.reward[rows], beta)
        for rows in (ws.rows("train"), ws.rows("heldout"))
    )
    ece = expected_calibration_error(made.log_pi[known], torch.from_numpy(gold.labels[known])) if len(known) else None
    return {
        "accuracy": gold_accuracy(made.log_pi, gold, evaluation.numpy()),
        "KL": float(kl(made.log_pi[evaluation].double(), environment.log_ref[evaluation].double()).mean()),
        "J": train.J,
        "attained": train.attained,
        "attained held-out": heldout.attained,
        "ECE": ece,
        "images": made.images,
        "note": made.note,
    }


def run_seed(environment: Environment, learners: Learners, names: list[str], say: Callable[[str], None]) -> list[Row]:
    """A row for each method, from disk if it was made before of the same inputs and settings."""
    ws = environment.ws
    folder = ws.run.path / "compare"
    inputs = inputs_key(ws)
    # PPO first, since what it goes through is what the others that learn from the reward are given.
    images = one_row(environment, learners, folder, inputs, PPO, 0, say)["images"]
    return [one_row(environment, learners, folder, inputs, name, images, say) for name in names]


def reward_seconds(ws: Workspace) -> float:
    """What training the reward model took, which all but the reference, supervised learning and DPO need."""
    return float(ws.run.read("reward", "result.json", "seconds")["seconds"])


def inputs_key(ws: Workspace) -> str:
    """Hash of all that the methods learn from and of the settings they learn with."""
    models = [sha256_of(ws.run.require(stage, "model.safetensors")) for stage in ("reference", "reward")]
    settings = ws.config.model_dump(mode="json")
    relevant = {name: settings[name] for name in ("seed", "images", "model", "reward", "ppo")}
    store = [ws.run.feedback / name for name in ("pairwise.csv", "per_image.csv")]
    judgments = [sha256_of(path) for path in store if path.is_file()]
    return short_hash(json.dumps(relevant, sort_keys=True), ws.table.fingerprint, *models, *judgments)


def one_row(
    environment: Environment,
    learners: Learners,
    folder: Path,
    inputs: str,
    name: str,
    images: int,
    say: Callable[[str], None],
) -> Row:
    """One method's row of the table, from disk if it is there."""
    budgeted = name in (DISTILLATION, "A2C", "REINFORCE")
    file = folder / f"{short_hash(name, inputs, str(images if budgeted else 0))}.json"
    if not _kept(file):
        begin = time.perf_counter()
        made = methods(environment, learners, folder, images)[name]()
        environment.check_frozen()
        row = {"method": name, "seed": environment.ws.config.seed, **measured(environment, made)}
        seconds = {"seconds": round(time.perf_counter() - begin, 2), "reward seconds": reward_seconds(environment.ws)}
        write_json(file, row | seconds)
        accuracy = "" if row["accuracy"] is None else f"accuracy {row['accuracy']:.1%}, "
        say(f"seed {row['seed']}, {name}: {accuracy}attained {row['attained']:.3f}")
    return read_json(file)


def _kept(file: Path) -> bool:
    """Whether a row that was made before can be read; a damaged one is named and made again."""
    try:
        read_object(file, "method", "seed", "images", "accuracy", "attained", "seconds")
    except FileNotFoundError:
        return False
    except Damaged as error:
        click.echo(f"warning: {file} is damaged ({error}) and made again", err=True)
        return False
    return True
