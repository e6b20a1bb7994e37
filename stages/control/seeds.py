"""Several seeds in one command: a run for each, in processes of their own, and their table with 95 % intervals."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import parse_settings
from pipeline.control.config import ControlConfig
from pipeline.errors import UserError
from pipeline.learning.statistics import t_interval
from pipeline.run.atomic_files import write_atomically, write_json
from stages.control.run import run

COLUMNS = ("true_return", "true_reward", "random_return", "heldout_accuracy")
PARENT_SECONDS = 0.5  # between two looks whether the parent process is still there


def seeded(config: ControlConfig, seeds: int) -> list[ControlConfig]:
    """The configuration of each seed: the run itself, and then <name>-s<seed>, with questions and answers of its own."""
    numbers = range(config.seed, config.seed + seeds)
    return [config, *(one_seed(config, number) for number in numbers[1:])]


def one_seed(config: ControlConfig, seed: int) -> ControlConfig:
    tree = config.model_dump(mode="json") | {"name": f"{config.name}-s{seed}", "seed": seed}
    tree["collect"] |= {"folder": None}
    return parse_settings(ControlConfig, tree, "seeds")


def run_seeds(config: ControlConfig, seeds: int, announce: Callable[[str], object]) -> list[dict[str, Any]]:
    """Run all seeds, as many at once as there are cores; writes runs/<name>/rounds/seeds.csv and seeds.json.

    Raises:
        UserError: people are to answer, who cannot sit in front of several runs; or what a run raises.
    """
    if config.collect.teacher == "people":
        raise UserError(
            "SEEDS: people answer one run at a time; use collect.teacher: simulated, or run the seeds one by one"
        )
    configs = seeded(config, seeds)
    workers = min(seeds, os.cpu_count() or 1)
    results: dict[int, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        started = {pool.submit(run_silently, one): one.seed for one in configs}
        try:
            for done in as_completed(started):
                results[started[done]] = done.result()
                announce(line(started[done], results[started[done]]))
        except BaseException:  # Ctrl-C, SIGTERM or a seed's error: the others' finished rounds are saved
            for process in list(pool._processes.values()):
                process.kill()
            raise
    rows = [{"seed": one.seed, "name": one.name, **results[one.seed]} for one in configs]
    folder = config.runs / config.name / "rounds"
    write_atomically(folder / "seeds.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    write_json(folder / "seeds.json", {"seeds": rows, "summary": summary(rows)})
    return rows


def run_silently(config: ControlConfig) -> dict[str, Any]:
    return run(config, lambda _: None)


def end_with_parent() -> None:
    """End this process soon after its parent: a killed command must leave none behind that holds its locks."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and half of the 95 % t interval of each column over the seeds."""
    found: dict[str, Any] = {}
    for name in COLUMNS:
        values = np.array([row[name] for row in rows if row.get(name) is not None], dtype=float)
        if len(values):
            mean, half = t_interval(values)
            found[name] = {"mean": mean, "half": half if np.isfinite(half) else None, "seeds": len(values)}
    return found


def line(seed: int, result: dict[str, Any]) -> str:
    beside = f", from the true reward {result['true_reward']:.1f}" if "true_reward" in result else ""
    return f"seed {seed}    {result['answers']} answers: true return {result['true_return']:.1f}{beside}"


def table(rows: list[dict[str, Any]]) -> str:
    """The seeds' summary for the terminal."""
    names = {
        "true_return": "learned from preferences",
        "true_reward": "learned from the true reward",
        "random_return": "random actions",
        "heldout_accuracy": "held-out agreement",
    }
    lines = []
    for name, one in summary(rows).items():
        scale, unit = (100, " %") if name == "heldout_accuracy" else (1, "")
        half = "" if one["half"] is None else f" ± {scale * one['half']:.1f}"
        lines.append(f"{names[name]:<30}{scale * one['mean']:>8.1f}{half}{unit}")
    return "\n".join(lines)
