"""`make rounds`: ask, train the reward model, align, and ask what is now worth asking, with a simulated teacher.

Each round's reward model and policy stay readable in runs/<name>/rounds/<number>/; the newest are those of the run itself.
Every PPO run keeps its KL penalty to the reference.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.learning.person_seconds import person_seconds
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.estimate_file import read_estimate
from pipeline.run.manifest import read_manifest
from pipeline.run.rounds_file import write_rounds
from pipeline.run.run_folder import RunFolder
from pipeline.run.run_stage import STAGE_MODULES
from pipeline.run.runtime import start
from pipeline.run.settings_hash import settings_hash
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from stages.rounds.reward_updates import config_of_round
from stages.rounds.schedule import questions_of
from stages.rounds.stopping import reason_to_stop
from stages.rounds.trained_on import ROUND, whole_store

ARCHIVED = ("reward", "ppo")


@one_process("rounds")
def run(
    config: Config,
    rounds: int | None,
    announce: Callable[[str], object],
    ask: Callable[[Workspace, int, int, Path], None],
) -> pd.DataFrame:
    """Run the rounds that are not finished yet; returns rounds.csv, one row per round, and writes summary.json.

    With several processes the first one writes and announces; the others return no rows.

    Args:
        rounds: their number; None: as the configuration says.
        ask: `stages.collect.next_round.ask`; stages do not import each other.
        announce: is called with a line about each round.

    Raises:
        UserError: people or a replay are to answer; or finished rounds were made with other settings.
    """
    if config.collect.teacher == "people":
        raise UserError(
            "collect.teacher: rounds ask a simulated or replay teacher; with people, the same loop is `make collect LIVE=1`"
        )
    settings, counts = config.rounds, questions_of(config, rounds)
    runtime = start(config.runtime)
    stage("reference", config)
    folder = config.runs / config.name / "rounds"
    rows: list[dict[str, Any]] = []
    for number, count in enumerate(counts):
        archive = folder / str(number)
        made_with = {"questions": count, "collect": settings_hash(config, "collect")}
        own = config_of_round(config, sum(counts[: number + 1]), sum(counts))
        if not runtime.of_main(lambda: finished(own, archive, made_with)):  # noqa: B023  called at once
            if number and (reason := reason_to_stop(folder / str(number - 1), settings.stop_accuracy)):
                if runtime.is_main:
                    announce(reason)
                break
            ask(open_workspace(config), number, count, folder / str(number - 1))
            for name in ("train-reward", "ppo"):
                stage(name, own)
            trained_on = whole_store(open_workspace(config))
            if runtime.is_main:
                keep(config, archive, made_with | trained_on.as_json())
            runtime.wait()
        if runtime.is_main:
            rows.append(describe_round(config, archive, number))
            write_rounds(config.runs / config.name, pd.DataFrame(rows))
            announce(line(rows[-1]))
    if runtime.is_main:
        RunFolder(config).write_summary()
    return pd.DataFrame(rows)


def stage(name: str, config: Config) -> None:
    """Run one stage, unless it is up to date; few answers may leave a reward model no better than chance."""
    options = {"chance_allowed": True} if name == "ppo" else {}
    importlib.import_module(STAGE_MODULES[name]).run(config, **options)


def finished(config: Config, archive: Path, made_with: dict[str, Any]) -> bool:
    """Whether a round was finished with these settings.

    Args:
        made_with: number of questions, and the hash of the settings of collect.

    Raises:
        UserError: it was finished with others.
    """
    if not (archive / ROUND).is_file():
        return False
    try:
        stored = read_json(archive / ROUND)
        same = {name: stored.get(name) for name in made_with} == made_with
    except (ValueError, AttributeError):
        return False  # damaged: the round is made again from its stored answers
    for name in ARCHIVED:
        manifest = read_manifest(archive / name)
        if not same or manifest is None or manifest.settings != RunFolder(config).stage(name).settings:
            raise UserError(
                f"{archive}: this round was made with other settings; set another name for a new run, or remove "
                f"{archive.parent} and the judgments of the run"
            )
    return True


def keep(config: Config, archive: Path, made_with: dict[str, Any]) -> None:
    """Copy the round's reward model and policy; the folder appears when it is complete."""
    partial = archive.with_name(f".making-{archive.name}")
    shutil.rmtree(partial, ignore_errors=True)
    for name in ARCHIVED:
        ignored = shutil.ignore_patterns("checkpoints", "events.out.*")
        shutil.copytree(config.runs / config.name / name, partial / name, ignore=ignored)
    write_json(partial / ROUND, made_with)
    shutil.rmtree(archive, ignore_errors=True)
    partial.rename(archive)


def describe_round(config: Config, archive: Path, number: int) -> dict[str, Any]:
    """The row of rounds.csv: answers and simulated seconds so far, and the round's results."""
    ws = open_workspace(config)
    store = ws.run.open_store()
    tables = [store.comparisons(), store.per_image_judgments()]
    tables = [table[table["round"].astype(int) <= number] for table in tables]
    spent = {one.simulated: round(one.total, 1) for one in person_seconds(tables, len(ws.classes))}
    reward = read_json(archive / "reward" / "result.json")["reward"]
    policy = read_json(archive / "ppo" / "result.json")["policy"]
    estimate = read_estimate(archive) or {}
    return {
        "round": number,
        "answers": sum(len(table) for table in tables),
        "simulated_seconds": spent.get(True),
        "seconds": spent.get(False),  # of people
        "heldout_log_loss": reward["heldout_log_loss"],
        "heldout_accuracy": reward["heldout_accuracy"],
        "reward_accuracy": reward["argmax_accuracy"],
        **{name: policy[name] for name in ("accuracy", "J", "J_star", "attained", "kl", "beta") if name in policy},
        **{f"estimated_{name}": estimate.get(name) for name in ("accuracy", "low", "high")},
    }


def line(row: dict[str, Any]) -> str:
    """One round for the terminal."""
    accuracy = "" if row["accuracy"] is None else f", accuracy {row['accuracy']:.1%}"
    if row["estimated_accuracy"] is not None:
        low, high = row["estimated_low"], row["estimated_high"]
        accuracy += f", estimated {row['estimated_accuracy']:.1%} [{low:.0%}, {high:.0%}]"
    simulated, seconds = row["simulated_seconds"], row["seconds"]
    spent = f"{seconds or 0:.0f} seconds of people" if simulated is None else f"{simulated:.0f} simulated seconds"
    return (
        click.style(f"round {row['round']}", bold=True)
        + f"    {row['answers']} answers, {spent}{accuracy}, J {row['J']:.3f}, "
        f"attained {row['attained']:.1%}"
    )
