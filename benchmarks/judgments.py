"""Quality of the reward model by kind and source of the judgments, evaluated on gold labels it never sees.

    python -m benchmarks.judgments votes --config configs/cifar10n.yaml --seeds 5       # three votes per image, or one
    python -m benchmarks.judgments annotators --config configs/digits_comparisons.yaml --seeds 5    # careless and contrary annotators
    python -m benchmarks.judgments kinds --config configs/digits_comparisons.yaml --seeds 5         # comparisons, or label choices

Each prints a table: mean and 95 % t interval over seeds, and paired differences to the first row.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from feedback_store.records import Judgment
from pipeline.config import Config, load_config
from pipeline.data.gold_labels import read_gold_labels
from pipeline.kinds import ScreenSettings, Simulation
from pipeline.kinds import kinds as judgment_kinds
from pipeline.kinds.items import items_of
from pipeline.kinds.teachers import parameters_of
from pipeline.learning.statistics import t_interval
from pipeline.run.atomic_files import read_json
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import generator
from pipeline.run.workspace import open_workspace
from stages.collect.question_plan import pool_of

Row = dict[str, float]
QUESTIONS, ANSWERS = 30, 31  # random streams of this benchmark


def interval(values: list[float]) -> str:
    """Mean and half-width of the 95 % t interval, in per cent."""
    mean, half = t_interval(100 * np.array(values))
    return f"{mean:.1f}" if math.isnan(half) else f"{mean:.1f} ± {half:.1f}"


def train(config: Config) -> dict[str, Any]:
    """Train the reward model on the stored judgments; returns its card."""
    importlib.import_module("stages.reference.run").run(config)
    importlib.import_module("stages.reward.run").run(config)
    return read_json(config.runs / config.name / "reward" / "card.json")  # type: ignore[no-any-return]


def metrics_of(card: dict[str, Any]) -> Row:
    """The metrics of a card that the tables show."""
    ceiling = card["ceiling"] or {"leave_one_out": math.nan, "plug_in": math.nan}
    flagged = [one["name"] for one in card["annotators"] if one["flagged"]]
    return {
        "argmax accuracy": card["gold"]["argmax_accuracy"],
        "held-out": card["heldout"]["accuracy"],
        "low": card["heldout"]["low"],
        "high": card["heldout"]["high"],
        "ceiling, low": ceiling["leave_one_out"],
        "ceiling, high": ceiling["plug_in"],
        "ECE before": card["calibration"]["before"]["ece"],
        "ECE after": card["calibration"]["after"]["ece"],
        "flagged": float(len(flagged)),
        "rightly flagged": float(sum(name.startswith(("careless", "contrary")) for name in flagged)),
    }


def report(variants: dict[str, list[Row]]) -> None:
    """Print means with t intervals, and paired differences to the first variant."""
    first = next(iter(variants.values()))
    for name, rows in variants.items():
        click.echo(f"\n{name} ({len(rows)} seeds)")
        for key in rows[0]:
            if key in ("flagged", "rightly flagged"):
                click.echo(f"  {key:18} {', '.join(f'{row[key]:.0f}' for row in rows)}")
            elif not math.isnan(rows[0][key]):
                paired = [row[key] - other[key] for row, other in zip(rows, first, strict=True)]
                versus = f"   difference to the first {interval(paired)}" if rows is not first else ""
                click.echo(f"  {key:18} {interval([row[key] for row in rows])}{versus}")


def measure(seeds: range, variants: dict[str, Callable[[int], dict[str, Any]]]) -> None:
    """Run every variant on every seed; print each result, and a table at the end."""
    results: dict[str, list[Row]] = {name: [] for name in variants}
    for seed in seeds:
        for name, make in variants.items():
            row = metrics_of(make(seed))
            results[name].append(row)
            click.echo(
                f"seed {seed}, {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in row.items()), err=True
            )
    report(results)


class SeedRange(click.ParamType):
    """`5`: seeds 0 to 4; `3-4`: seeds 3 and 4."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, dash, last = str(value).partition("-")
        try:
            return range(int(first), int(last) + 1) if dash else range(int(first))
        except ValueError:
            self.fail(f"{value!r}: write a number (5) or a range (3-4)", param, ctx)


def options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--set", "overrides", default="", help="overrides, as in SET")(command)
    command = click.option("--seeds", type=SeedRange(), default="5", show_default=True, help="5 (0 to 4), or 3-4")(
        command
    )
    return click.option("--config", "path", type=click.Path(path_type=Path), required=True)(command)


@click.group()
def main() -> None:
    """Compare reward models by their judgments."""


def configured(path: Path, overrides: str, seed: int, name: str, **collect: object) -> Config:
    """The configuration of one seed and variant; all variants of a seed have the same run name."""
    extra = [f"collect.{key}={'null' if value is None else value}" for key, value in collect.items()]
    folder = f"runs/judgments-{path.stem}-s{seed}-{name}/feedback"
    base = ["reward.curve=[]", f"seed={seed}", f"name=judgments-{path.stem}-s{seed}", f"collect.folder={folder}"]
    return load_config(path, [*base, *extra, *overrides.split()])


@main.command()
@options
def votes(path: Path, seeds: range, overrides: str) -> None:
    """All recorded labels of each image, or only the first."""

    def make(seed: int, each: int | None) -> dict[str, Any]:
        config = configured(path, overrides, seed, f"votes{each or 'all'}", **{"replay.votes_per_image": each})
        importlib.import_module("stages.reference.run").run(config)
        importlib.import_module("stages.collect.run").run(config)
        return train(config)

    measure(seeds, {"one label per image": lambda seed: make(seed, 1), "all labels": lambda seed: make(seed, None)})


def crowd(config: Config, count: int, people: dict[str, str]) -> list[Judgment]:
    """Simulated answers of several people, each to their own share of the questions.

    Args:
        people: behaviour by name: `careful` (the configured teacher), `careless` (random) or `contrary` (the opposite).
    """
    ws = open_workspace(config)
    gold = read_gold_labels(ws.table, ws.classes)
    random, answers = generator(config.seed, QUESTIONS), np.random.default_rng([config.seed, ANSWERS])
    rows = pool_of(ws)
    kind = judgment_kinds.get(config.collect.question)
    queries = kind.draw(torch.from_numpy(rows[gold.known[rows]]), count, ws.log_reference, random)
    careful = Simulation(gold, parameters_of(config.collect.simulated), 1.0, config.collect.rating_levels, answers)
    contrary = dataclasses.replace(careful, parameters=dataclasses.replace(careful.parameters, eps_mistake=1.0))
    plain, opposite = kind.simulate(queries, careful), kind.simulate(queries, contrary)
    decided = [answer for answer in kind.answers(ScreenSettings(ws.classes, careful.levels)) if answer != "tie"]
    careless = answers.choice(np.array(decided), count)
    names, who = list(people), answers.integers(0, len(people), count)
    by_behaviour = {"careful": plain, "careless": careless.tolist(), "contrary": opposite}
    items = items_of(queries, ws.table.ids.tolist(), ws.classes)
    return [
        item.judgment(by_behaviour[people[names[n]]][place], id=f"{place}", annotator=names[n], source="simulated")
        for place, (item, n) in enumerate(zip(items, who, strict=True))
    ]


@main.command()
@options
@click.option("--judgments", default=4000, show_default=True)
def annotators(path: Path, seeds: range, overrides: str, judgments: int) -> None:
    """Twenty annotators, of whom five are random and two contrary: with them, without them, and without reliabilities."""
    people = {f"careful {n}": "careful" for n in range(13)}
    people |= {f"careless {n}": "careless" for n in range(5)} | {f"contrary {n}": "contrary" for n in range(2)}

    def make(seed: int, name: str, keep: Callable[[Judgment], bool], extra: str) -> dict[str, Any]:
        config = configured(path, f"{overrides} {extra}", seed, name)
        importlib.import_module("stages.reference.run").run(config)
        store = RunFolder(config).open_store()
        store.append([judgment for judgment in crowd(config, judgments, people) if keep(judgment)])
        return train(config)

    measure(
        seeds,
        {
            "careful annotators only": lambda seed: make(
                seed, "alone", lambda j: j.annotator.startswith("careful"), ""
            ),
            "all, reliabilities learned": lambda seed: make(seed, "all", lambda j: True, ""),
            "all, no reliabilities": lambda seed: make(seed, "alike", lambda j: True, "reward.reliability=false"),
        },
    )


@main.command()
@options
@click.option("--judgments", default=1000, show_default=True, help="number of comparisons")
def kinds(path: Path, seeds: range, overrides: str, judgments: int) -> None:
    """Comparisons, as many label choices, and label choices with as many bits (at most log2 C each)."""
    classes = len(open_workspace(configured(path, overrides, 0, "probe")).classes)
    fewer = round(judgments / math.log2(classes))

    def make(seed: int, question: str, count: int) -> dict[str, Any]:
        pairwise = judgment_kinds.get(question).schema.table == "pairwise"
        objective = "bradley_terry" if pairwise else "supervised"
        extra = f"{overrides} reward.objective={objective}"
        config = configured(path, extra, seed, f"{question}{count}", question=question, count=count)
        importlib.import_module("stages.reference.run").run(config)
        importlib.import_module("stages.collect.run").run(config)
        return train(config)

    measure(
        seeds,
        {
            f"{judgments} comparisons": lambda seed: make(seed, "comparison", judgments),
            f"{judgments} label choices": lambda seed: make(seed, "label", judgments),
            f"{fewer} label choices (equal bits)": lambda seed: make(seed, "label", fewer),
        },
    )


if __name__ == "__main__":
    main()
