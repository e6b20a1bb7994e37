"""Preference-based reinforcement learning on control tasks: true returns over seeds, and the query strategies.

    python -m benchmarks.control                          CartPole (oracle, 10 % mistakes) and Pendulum, beside the true reward
    python -m benchmarks.control --strategies             uniform, disagreement and entropy
    python -m benchmarks.control --imitation PYTHON       `imitation` on Pendulum; PYTHON is an interpreter that has it

Exits with 1 if CartPole reaches less than 90 % of the return learned from the true reward with as many steps, or Pendulum
less than 60 % of its improvement over random actions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from pipeline.config import load_settings
from pipeline.control.config import ControlConfig
from pipeline.learning.statistics import t_interval
from stages.control.run import run
from stages.control.seeds import end_with_parent

ROOT = Path(__file__).resolve().parent.parent
CARTPOLE_SHARE, PENDULUM_SHARE = 0.9, 0.6
STRATEGIES = ("uniform", "disagreement", "entropy")


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        task: a configuration in configs/.
        name: of the row.
        changes: settings that differ from the configuration's.
        true_reward: whether to learn from the true reward, too; the other rows of the task use the same figures.
    """

    task: str
    name: str
    changes: tuple[str, ...] = ()
    true_reward: bool = False


ACCEPTANCE = (
    Case("cartpole", "CartPole, oracle", true_reward=True),
    Case("cartpole", "CartPole, 10 % mistakes", ("collect.simulated.name=mistake",)),
    Case("pendulum", "Pendulum, oracle", true_reward=True),
)


def strategy_cases() -> list[Case]:
    """The query strategies: on CartPole with a fifth of the answers, since all of them suffice with any strategy."""
    return [
        Case(task, f"{task}, {count} answers, {strategy}", (f"collect.strategy={strategy}", f"collect.count={count}"))
        for task, count in (("cartpole", 40), ("pendulum", 200))
        for strategy in STRATEGIES
    ]


def configuration(case: Case, seed: int, runs: str) -> ControlConfig:
    name = "-".join([case.task, *(change.split("=")[1] for change in case.changes), f"s{seed}"])
    own = [*case.changes, f"seed={seed}", f"runs={runs}", f"name={name}"]
    own.append(f"baseline.true_reward={str(case.true_reward).lower()}")
    return load_settings(ControlConfig, ROOT / "configs" / f"{case.task}.yaml", own)


def result(case: Case, seed: int, runs: str) -> dict[str, Any]:
    """The row of one seed; the mean over rounds is how fast it learned."""
    config = configuration(case, seed, runs)
    found = run(config, lambda _: None)
    rounds = pd.read_csv(config.runs / config.name / "rounds" / "rounds.csv")
    return {
        "name": case.name,
        "task": case.task,
        "seed": seed,
        **found,
        "mean_return": float(rounds["true_return"].mean()),
    }


def run_all(cases: Sequence[Case], seeds: Sequence[int], runs: str) -> pd.DataFrame:
    """All cases and seeds, one process per core."""
    jobs = [(case, seed) for case in cases for seed in seeds]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        started = [pool.submit(result, case, seed, runs) for case, seed in jobs]
        return pd.DataFrame([one.result() for one in started])


def interval(values: pd.Series) -> str:
    mean, half = t_interval(values.to_numpy(dtype=float))
    return f"{mean:.1f}" if np.isnan(half) else f"{mean:.1f} ± {half:.1f}"


def acceptance(table: pd.DataFrame) -> Iterator[tuple[str, bool]]:
    """A sentence for each bar, and whether it is reached."""
    means = table.groupby("name", sort=False)["true_return"].mean()
    known = table.dropna(subset=["true_reward"]).groupby("task")[["true_reward", "random_return"]].mean()
    for name, mean in means.items():
        task = table.loc[table["name"] == name, "task"].iloc[0]
        true, random = known.loc[task]
        if task == "cartpole":
            share, needed, what = mean / true, CARTPOLE_SHARE, "of the return learned from the true reward"
        else:
            share, needed, what = (
                (mean - random) / (true - random),
                PENDULUM_SHARE,
                "of the improvement over random actions",
            )
        yield f"{name}: {100 * share:.0f} % {what} ({100 * needed:.0f} % needed)", share >= needed


def print_table(table: pd.DataFrame) -> None:
    columns = {
        "true_return": "from preferences",
        "mean_return": "mean over rounds",
        "true_reward": "from the true reward",
        "random_return": "random actions",
        "heldout_accuracy": "held-out agreement, %",
    }
    click.echo("| task, teacher | " + " | ".join(columns.values()) + " |")
    click.echo("| --- " * (len(columns) + 1) + "|")
    for name, rows in table.groupby("name", sort=False):
        scaled = rows.assign(heldout_accuracy=100 * rows["heldout_accuracy"])
        has = [column in rows and rows[column].notna().any() for column in columns]
        cells = [interval(scaled[column]) if known else "" for column, known in zip(columns, has, strict=True)]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")


def imitation(python: str, seeds: Sequence[int]) -> None:
    """`imitation`'s preference comparisons on Pendulum, with as many comparisons and steps.

    Its fragments have one length and lie within an episode, so that all of CartPole's have the same return.
    """
    script, found = Path(__file__).with_name("imitation_baseline.py"), list[float]()
    config = load_settings(ControlConfig, ROOT / "configs" / "pendulum.yaml", [])
    for seed in seeds:
        given = {
            "environment": config.environment.id,
            "n_envs": config.environment.n_envs,
            "seed": seed,
            "steps": config.agent.steps,
            "comparisons": config.collect.count,
            "segment_length": config.collect.segment_length,
            "episodes": config.evaluation.episodes,
        }
        environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        command = [python, str(script), json.dumps(given)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            click.echo(f"imitation, seed {seed}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
            continue
        found.append(json.loads(done.stdout.strip().splitlines()[-1])["true_return"])
        click.echo(f"imitation, seed {seed}: true return {found[-1]:.1f}")
    if found:
        click.echo(f"imitation, Pendulum: {interval(pd.Series(found))}, {len(found)} seeds")


@click.command()
@click.option("--first-seed", default=0, show_default=True)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--strategies", is_flag=True, help="Compare the query strategies.")
@click.option("--only", default="", help="Only rows whose name contains this.")
@click.option("--imitation", "python", help="A Python interpreter that has imitation.")
@click.option("--runs", type=click.Path(path_type=Path), help="Folder of the runs; default: a temporary one.")
def main(first_seed: int, seeds: int, strategies: bool, only: str, python: str | None, runs: Path | None) -> None:
    """Print the table; exit with 1 below the bars."""
    numbers, started = range(first_seed, first_seed + seeds), time.perf_counter()
    if python:
        imitation(python, numbers)
        return
    cases = [case for case in (strategy_cases() if strategies else ACCEPTANCE) if only in case.name]
    with tempfile.TemporaryDirectory() as temporary:
        table = run_all(cases, numbers, str(runs or temporary))
    print_table(table)
    click.echo(f"{seeds} seeds, {os.cpu_count()} cores, {time.perf_counter() - started:.0f} s")
    if strategies or "true_reward" not in table:
        return
    bars = list(acceptance(table))
    for sentence, reached in bars:
        click.echo(f"{'reached' if reached else 'MISSED'}: {sentence}")
    sys.exit(0 if all(reached for _, reached in bars) else 1)


if __name__ == "__main__":
    main()
