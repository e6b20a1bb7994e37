"""What the report of a control task shows, read from the files of all its seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.control.config import ControlConfig
from pipeline.control.questions import questions
from pipeline.errors import UserError
from pipeline.learning.statistics import t_interval
from pipeline.run import next_command
from pipeline.run.atomic_files import Damaged, read_object
from pipeline.run.rounds_file import read_rounds

Rows = list[dict[str, Any]]
GOOD_SHARE = 0.9  # of the true reward's improvement over random actions, from which the result is called as good


def read_seeds(config: ControlConfig) -> list[dict[str, Any]]:
    """A dictionary per seed: seed, name, rounds, true_rounds and result (empty until the run is finished).

    Raises:
        UserError: no round is finished.
    """
    folder = config.runs / config.name
    names = [(config.seed, config.name)]
    listed = folder / "rounds" / "seeds.json"
    if listed.is_file():
        try:
            names = [(one["seed"], one["name"]) for one in read_object(listed, "seeds")["seeds"]]
        except (Damaged, TypeError, KeyError) as error:
            raise UserError(
                f"{listed}: damaged ({error}); `{next_command.make('rounds')}` with SEEDS writes it again"
            ) from None
    found = [one for seed, name in names if (one := read_seed(config.runs / name, seed))["rounds"]]
    if not found:
        raise UserError(f"{folder}: no round is finished; run `{next_command.make('rounds')}` first")
    return found


def read_seed(folder: Path, seed: int) -> dict[str, Any]:
    result = folder / "rounds" / "result.json"
    true = folder / "true_reward" / "rounds.csv"
    return {
        "seed": seed,
        "name": folder.name,
        "rounds": read_rounds(folder),
        "true_rounds": pd.read_csv(true).to_dict("records") if true.is_file() else [],
        "result": json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {},
    }


def by_round(seeds: Sequence[dict[str, Any]], rows: str, column: str) -> Rows:
    """Mean and half of the 95 % interval over seeds of a column, for each round that all seeds have finished."""
    count = min(len(one[rows]) for one in seeds)
    found = []
    for number in range(count):
        values = [one[rows][number].get(column) for one in seeds]
        known = np.array([value for value in values if value is not None], dtype=float)
        mean, half = t_interval(known) if len(known) else (None, None)
        finished = half is not None and np.isfinite(half)
        found.append({"mean": mean, "half": half if finished else None})
    return found


def figures(config: ControlConfig) -> dict[str, Any]:
    """Everything the page shows, as it is saved in report.json."""
    seeds = read_seeds(config)
    learned, true = by_round(seeds, "rounds", "true_return"), by_round(seeds, "true_rounds", "true_return")
    random = [one["result"]["random_return"] for one in seeds if "random_return" in one["result"]]
    rounds = [
        {
            "round": number,
            "answers": seeds[0]["rounds"][number]["answers"],
            "steps": seeds[0]["rounds"][number]["steps"],
            "learned": learned[number],
            "true": true[number] if number < len(true) else None,
            "agreement": agreement,
            "log_loss": log_loss,
        }
        for number, (agreement, log_loss) in enumerate(
            zip(
                by_round(seeds, "rounds", "heldout_accuracy"),
                by_round(seeds, "rounds", "heldout_log_loss"),
                strict=True,
            )
        )
    ]
    comparisons = questions.get(config.collect.question).segments > 1
    report = {
        "name": config.name,
        "environment": config.environment.id,
        "agent": config.agent.kind,
        "teacher": teacher(config),
        "asked": "comparisons of two clips" if comparisons else "ratings of a clip",
        "comparisons": comparisons,
        "strategy": config.collect.strategy,
        "episodes": config.evaluation.episodes,
        "seeds": seeds,
        "rounds": rounds,
        "random": float(np.mean(random)) if random else None,
    }
    return report | {"headline": headline(report)}


def teacher(config: ControlConfig) -> str:
    """Who answered."""
    if config.collect.teacher == "people":
        return "people"
    settings = config.collect.simulated.model_dump(exclude_none=True)
    name = settings.pop("name")
    changed = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    return f"a simulated teacher ({name}{', ' + changed if changed else ''})"


def share(report: dict[str, Any]) -> float | None:
    """The improvement over random actions, as a share of the one that learning from the true reward reaches."""
    last = report["rounds"][-1]
    if last["true"] is None or report["random"] is None or last["true"]["mean"] == report["random"]:
        return None
    return float((last["learned"]["mean"] - report["random"]) / (last["true"]["mean"] - report["random"]))


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """The first lines of the page."""
    last, attained, count = report["rounds"][-1], share(report), len(report["seeds"])
    sentences = [
        f"{last['answers']} answers by {report['teacher']}, {last['steps']:,} environment steps, "
        f"{count} seed{'s' if count > 1 else ''}.",
    ]
    if last["true"] is not None:
        sentences.append(
            f"The same agent reaches {amount(last['true'])} with the true reward and as many steps"
            + (f", and random actions {report['random']:.1f}." if report["random"] is not None else ".")
        )
    if attained is not None:
        sentences.append(
            f"Learning from preferences attains {100 * attained:.0f} % of that improvement over random actions."
        )
    tone = "wait" if attained is None else "good" if attained >= GOOD_SHARE else "wait" if attained > 0.3 else "bad"
    return {
        "short": f"True return {amount(last['learned'])}",
        "sentences": sentences,
        "tone": tone,
        "attained": attained,
    }


def amount(value: dict[str, Any]) -> str:
    """A mean with half of its interval."""
    half = "" if value["half"] is None else f" ± {value['half']:.1f}"
    return f"{value['mean']:.1f}{half}".replace("-", "−")
