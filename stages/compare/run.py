"""`make compare`: PPO against baselines, on the same judgments and seeds (docs/method.md 9)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.config import Config, load_saved_config, parse_config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.errors import UserError
from pipeline.learning.environment import Environment
from pipeline.learning.objective import kl, log_optimal_policy
from pipeline.learning.statistics import gold_accuracy
from pipeline.run.atomic_files import write_atomically
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import open_workspace
from stages.compare.baselines import METHODS, Learners
from stages.compare.exact_optimum import best_of_n
from stages.compare.report import conclusion, frontier_plot, markdown
from stages.compare.results import run_seed

BETAS = np.geomspace(0.02, 10.0, 28)
BEST_OF_N_DRAWS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
AUTOMATIC_TEACHERS = ("simulated", "replay")


@one_process("compare")
def run(config: Config, seeds: int, learners: Learners, only: list[str]) -> str:
    """Write runs/<name>/compare/: seeds.csv, frontier.csv, frontier.svg and compare.md; returns the text of the last.

    Every seed has its own run, <name>-compare-s<seed>, with its own labelled images and networks. A simulated or
    replayed teacher judges for each seed separately; the judgments of people are the same for all seeds.

    Raises:
        UserError: unknown method.
    """
    if unknown := [name for name in only if name not in METHODS]:
        raise UserError(f"unknown method {unknown[0]!r}; choose from: {'; '.join(METHODS)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("compare runs in one process; start it without torchrun")
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for seed in range(config.seed, config.seed + seeds):
        seed_config = seeded(config, seed)
        learners.prepare(seed_config)
        environment = Environment.open(open_workspace(seed_config))
        rows += run_seed(environment, learners, only or list(METHODS))
        curves += frontier(environment)
    folder = config.runs / config.name / "compare"
    frame, curve = pd.DataFrame(rows), pd.DataFrame(curves)
    text = markdown(config, frame) + "\n\n" + conclusion(frame) + "\n"
    for name, table in (("seeds.csv", frame), ("frontier.csv", curve)):
        write_atomically(folder / name, table.to_csv(index=False).encode())
    write_atomically(folder / "frontier.svg", frontier_plot(frame, curve).encode())
    write_atomically(folder / "compare.md", text.encode())
    return text + f"\nThe table, its CSV files and a plot of accuracy against KL are in {folder}"


def seeded(config: Config, seed: int) -> Config:
    """The configuration of one seed."""
    tree = config.model_dump(mode="json")
    tree |= {"name": f"{config.name}-compare-s{seed}", "seed": seed}
    tree["reward"]["curve"] = []
    tree["collect"]["teacher"] = teacher = saved_teacher(config)
    people = teacher not in AUTOMATIC_TEACHERS
    feedback = config.collect.folder or config.runs / config.name / "feedback"
    tree["collect"]["folder"] = str(feedback) if people else None
    # A simulated teacher answers each seed's questions for that seed alone.
    tree["collect"]["store"] = config.collect.store if people else "csv"
    return parse_config(tree, "compare")


def saved_teacher(config: Config) -> str:
    """The teacher that the run's collect stage saved: `make collect` may override the configuration's."""
    saved = config.runs / config.name / "collect" / "config.yaml"
    return load_saved_config(saved).collect.teacher if saved.is_file() else config.collect.teacher


def frontier(environment: Environment) -> list[dict[str, Any]]:
    """Exact accuracy and KL on the evaluation images, of pi* over beta and of best-of-n over n.

    The accuracy is None without gold labels.
    """
    ws = environment.ws
    gold = read_gold_labels(ws.table, ws.classes)
    rows = torch.from_numpy(ws.table.rows("evaluation"))
    log_ref, reward = environment.log_ref.double(), environment.reward.double()
    points = [("pi*", float(beta), log_optimal_policy(log_ref, reward, float(beta))) for beta in BETAS]
    points += [("best-of-n", float(n), best_of_n(log_ref, reward, n)) for n in BEST_OF_N_DRAWS]
    return [
        {
            "curve": curve,
            "at": at,
            "seed": ws.config.seed,
            "accuracy": gold_accuracy(log_pi, gold, rows.numpy()),
            "KL": float(kl(log_pi[rows], log_ref[rows]).mean()),
        }
        for curve, at, log_pi in points
    ]
