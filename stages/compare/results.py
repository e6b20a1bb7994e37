"""One row of results per method and seed, cached under the hash of its inputs and settings (docs/method.md 9)."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from pipeline.config.renamed import original_settings
from pipeline.data.gold_labels import read_gold_labels
from pipeline.learning.environment import Environment
from pipeline.learning.objective import kl, policy_metrics
from pipeline.learning.statistics import expected_calibration_error, gold_accuracy
from pipeline.run.atomic_files import Damaged, read_json, read_object, sha256_of, short_hash, write_json
from pipeline.run.workspace import Workspace
from stages.compare.baselines import OF_BUDGET, PPO, PPO_AUTO, Budget, Learners, MethodResult, methods

Row = dict[str, Any]

log = logging.getLogger(__name__)


def evaluate(environment: Environment, result: MethodResult, beta: float) -> Row:
    """Accuracy, KL and calibration on the evaluation images; J and attained on the training images and held-out ones.

    Args:
        beta: for J and attained.
    """
    ws, log_pi = environment.ws, result.log_pi
    evaluation = torch.from_numpy(ws.table.rows("evaluation"))
    gold = read_gold_labels(ws.table, ws.classes)
    known = evaluation[torch.from_numpy(gold.known[evaluation.numpy()])]
    train, heldout = (
        policy_metrics(log_pi[rows], environment.log_ref[rows], environment.reward[rows], beta)
        for rows in (ws.rows("train"), ws.rows("heldout"))
    )
    ece = expected_calibration_error(log_pi[known], torch.from_numpy(gold.labels[known])) if len(known) else None
    return {
        "accuracy": gold_accuracy(log_pi, gold, evaluation.numpy()),
        "KL": float(kl(log_pi[evaluation].double(), environment.log_ref[evaluation].double()).mean()),
        "J": train.J,
        "attained": train.attained,
        "attained held-out": heldout.attained,
        "ECE": ece,
        "beta": beta,
        "images": result.images,
        "note": result.note,
    }


def run_seed(environment: Environment, learners: Learners, names: list[str]) -> list[Row]:
    """A row for each method, from disk if it was computed before with the same inputs and settings."""
    ws = environment.ws
    folder = ws.run.path / "compare"
    inputs = inputs_key(ws)
    ppo = method_row(environment, learners, folder, inputs, PPO, Budget(environment.beta))
    budget = Budget(ppo.get("beta", environment.beta), ppo["images"])
    known = {PPO: ppo}
    if ws.config.ppo.beta == "auto":
        known[PPO_AUTO] = ppo | {"method": PPO_AUTO}
    return [known.get(name) or method_row(environment, learners, folder, inputs, name, budget) for name in names]


def reward_seconds(ws: Workspace) -> float:
    """Seconds of reward-model training, which all but the reference, supervised learning and DPO need."""
    return float(ws.run.read("reward", "result.json", "seconds")["seconds"])


def inputs_key(ws: Workspace) -> str:
    """Hash of all that the methods learn from and of the settings they learn with."""
    models = [sha256_of(ws.run.require(stage, "model.safetensors")) for stage in ("reference", "reward")]
    settings = original_settings(ws.config.model_dump(mode="json"))
    relevant = {name: settings[name] for name in ("seed", "images", "model", "reward", "ppo")}
    judgments = ws.run.open_store().fingerprint().values()
    return short_hash(json.dumps(relevant, sort_keys=True), ws.table.fingerprint, *models, *judgments)


def method_row(
    environment: Environment, learners: Learners, folder: Path, inputs: str, name: str, budget: Budget
) -> Row:
    """One method's row of the table, from disk if it is there."""
    config = environment.ws.config
    parts = [name, inputs, str(budget.images if name in OF_BUDGET else 0)]
    if budget.beta != environment.beta:
        parts.append(repr(budget.beta))
    file = folder / f"{short_hash(*parts)}.json"
    # With an adaptive beta the row must have it: rows of earlier versions lack it, and were computed with another.
    if not _is_cached(file, *(["beta"] if config.ppo.kl_target else [])):
        begin = time.perf_counter()
        result = methods(environment, learners, folder, budget)[name]()
        environment.check_frozen()
        # PPO runs first; all methods but one use its final beta.
        beta = result.beta if name in (PPO, PPO_AUTO) and result.beta is not None else budget.beta
        row = {"method": name, "seed": config.seed, **evaluate(environment, result, beta)}
        seconds = {"seconds": round(time.perf_counter() - begin, 2), "reward seconds": reward_seconds(environment.ws)}
        write_json(file, row | seconds)
        accuracy = "" if row["accuracy"] is None else f"accuracy {row['accuracy']:.1%}, "
        log.info("seed %d, %s: %sattained %.3f", row["seed"], name, accuracy, row["attained"])
    return read_json(file)


def _is_cached(file: Path, *needed: str) -> bool:
    """Whether a row is cached; a damaged one is reported and computed again.

    Args:
        needed: further keys without which a row is ignored.
    """
    try:
        row = read_object(file, "method", "seed", "images", "accuracy", "attained", "seconds")
    except FileNotFoundError:
        return False
    except Damaged as error:
        log.warning("%s is damaged (%s); it is computed again", file, error)
        return False
    return all(key in row for key in needed)
