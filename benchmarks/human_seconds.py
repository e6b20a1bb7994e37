"""What a person's seconds buy: accuracy after so many answers and simulated seconds, against uniform label choices.

    python -m benchmarks.human_seconds --task ants_bees --seeds 20 --set "images.root=... model.weights=..."

Tasks without a single label; simulated people, one answer in ten wrong (recorded votes: as recorded). Every method runs
`make rounds` on the same seeds, and its policy is evaluated after each budget. Finished rounds are not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.judgments import SeedRange
from benchmarks.machine import machine
from pipeline.config import load_config
from pipeline.learning.statistics import t_interval
from pipeline.strategies import strategies
from stages.collect.next_round import ask
from stages.rounds.run import run as run_rounds

ANTS_BEES = (
    "reference.labelled_per_class=0",
    "reward.unlabelled=balance",  # the classes are about equally frequent
    "reward.curve=[]",
    "ppo.iterations=4",
)
CIFAR = (
    "images.exclude=[human_labels.csv,work_seconds.csv]",
    "images.size=96",
    "images.augment={shift: 0, flip: false}",
    "model.backbone=squeezenet1_1",
    "model.trainable=head",
    "model.weights=imagenet",
    "reference.labelled_per_class=0",
    "reward.start=backbone",
    "reward.unlabelled=balance",  # the classes are equally frequent
    "reward.prior_sd=3",
    "reward.curve=[]",
    "ppo.iterations=2",
    "ppo.augment=false",
    "ppo.refresh_batchnorm=false",
    "ppo.evaluate_every=2",
)
SIMULATED = ("collect.teacher=simulated", "collect.simulated.name=mistake", "collect.replay.csv=null")


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        config: its configuration, with `overrides`.
        budgets: numbers of answers, ascending.
        batches: questions of each round of all methods but uniform, which retrains at the budgets alone.
        pages: images of each round, for methods that may ask about pages.
        people: who answers.
        alone: settings of methods under which unlabelled images teach nothing: a network needs more passes over few answers.
    """

    config: str
    budgets: tuple[int, ...]
    batches: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    pages: tuple[int, ...] = (48, 48, 96, 192, 384, 384, 768, 768)
    people: str = "simulated people, simulated seconds"


@dataclass(frozen=True)
class Method:
    """How questions are chosen, and what images without answers teach.

    Attributes:
        tiles: images of a page; None for questions about one image.
    """

    overrides: tuple[str, ...]
    tiles: int | None = None
    once: bool = field(default=False, kw_only=True)

    @property
    def propagates(self) -> bool:
        return "reward.unlabelled=none" not in self.overrides


TASKS = {
    "ants_bees": Task(
        "configs/ants_bees.yaml", (10, 20, 40, 60, 90, 120), (10, *[5] * 10, 30, 30), overrides=ANTS_BEES
    ),
    "digits": Task(
        "configs/digits.yaml",
        (30, 60, 90, 120, 180, 240),
        (30, 30, 30, 30, 60, 60),
        overrides=(
            "collect.audit_fraction=0",
            "reward.epochs=12",
            "reward.patience=12",
            "ppo.iterations=2",
            "ppo.evaluate_every=2",
        ),
        alone=("reward.epochs=100", "reward.patience=30", "reward.batch_size=16"),
    ),
    "cifar10": Task(
        "configs/cifar10n.yaml",
        (50, 100, 200, 500, 1000, 2000),
        (25, 25, 25, 25, 100, 150, 150, 250, 250, 500, 500),
        overrides=(*CIFAR, *SIMULATED),
    ),
    "cifar10n_votes": Task(
        "configs/cifar10n.yaml",
        (50, 100, 200, 500, 1000, 2000),
        (25, 25, 25, 25, 100, 150, 150, 250, 250, 500, 500),
        overrides=CIFAR,
        people="recorded votes, expected seconds",
    ),
}
METHODS = {
    "uniform": Method(("collect.strategy=uniform", "reward.unlabelled=none"), once=True),
    "ours": Method(("collect.strategy=expected_gain",)),
    "pages": Method(
        (
            "collect.strategy=expected_gain",
            "rounds.questions=[label,grid]",
            "collect.grid_tiles=12",
        ),
        tiles=12,
    ),
} | {name: Method((f"collect.strategy={name}", "reward.unlabelled=none")) for name in strategies.names()[1:]}


def batches_of(task: Task, method: Method) -> list[int]:
    """Questions of each round."""
    if method.once:
        return [after - before for before, after in pairwise((0, *task.budgets))]
    return list(task.pages if method.tiles else task.batches)


def run_seed(task_name: str, task: Task, method_name: str, seed: int, overrides: list[str]) -> pd.DataFrame:
    """The rows of rounds.csv at the budgets, with columns seed, method and spent: seconds, simulated or expected."""
    method = METHODS[method_name]
    batches = batches_of(task, method)
    name = f"seconds-{task_name}-{method_name}-s{seed}"
    settings = [
        *task.overrides,
        *(() if method.propagates else task.alone),
        "collect.question=label",
        *method.overrides,
        *overrides,
        f"seed={seed}",
        f"name={name}",
        f"rounds.batches=[{','.join(map(str, batches))}]",
        f"collect.count={sum(batches)}",
    ]
    table = run_rounds(load_config(Path(task.config), settings), len(batches), lambda line: None, ask)
    if method.tiles is None:
        table = table[table["answers"].isin(task.budgets)]
    spent = table["simulated_seconds"].fillna(table["seconds"])
    return table.assign(seed=seed, method=method_name, spent=spent)


def compared(rows: pd.DataFrame, method: str) -> list[str]:
    """Lines with the means of a method after each round or budget, and its paired difference from uniform in points."""
    lines = []
    own = rows[rows["method"] == method]
    uniform = rows[rows["method"] == "uniform"].pivot(index="seed", columns="answers", values="accuracy")
    for _, each in own.groupby("round"):  # pages are whole, so that numbers of answers differ by a few between seeds
        answers = each["answers"].mean()
        text = f"{method:>14} {answers:7.1f} answers {each['spent'].mean():7.0f} s   {100 * each['accuracy'].mean():5.1f} %"
        if method != "uniform" and each["answers"].nunique() == 1 and answers in uniform:
            gain = each.set_index("seed")["accuracy"] - uniform[answers]
            mean, half = t_interval(100 * gain.dropna().to_numpy())
            text += f"   {mean:+5.1f} ± {half:.1f} against uniform"
        lines.append(text)
    return lines


def accuracy_over(rows: pd.DataFrame, method: str, seconds: np.ndarray) -> np.ndarray:
    """Mean accuracy of a method after so many seconds, each seed's interpolated; NaN outside of what a seed has."""
    own = rows[rows["method"] == method]
    each = [
        np.interp(seconds, one["spent"], one["accuracy"], left=np.nan, right=np.nan) for _, one in own.groupby("seed")
    ]
    return np.asarray(np.mean(each, axis=0))


def seconds_to_reach(rows: pd.DataFrame, method: str, accuracy: float) -> float:
    """The first second after which a method's mean accuracy is at least this; NaN if never."""
    seconds = np.arange(0.0, rows["spent"].max() + 1)
    reached = np.flatnonzero(accuracy_over(rows, method, seconds) >= accuracy)
    return float(seconds[reached[0]]) if len(reached) else float("nan")


@click.command()
@click.option("--task", "task_name", type=click.Choice(list(TASKS)), required=True)
@click.option(
    "--method", "methods", multiple=True, type=click.Choice(list(METHODS)), default=("ours",), show_default=True
)
@click.option("--seeds", type=SeedRange(), default="5", show_default=True, help="5 (0 to 4), or 100-119")
@click.option("--budget", "budgets", multiple=True, type=int, help="Only these numbers of answers, in so many rounds.")
@click.option("--seconds", type=float, help="Also: when each method reaches what uniform has after so many seconds.")
@click.option("--set", "overrides", default="", help="Overrides, as for the stages.")
def main(
    task_name: str,
    methods: tuple[str, ...],
    seeds: range,
    budgets: tuple[int, ...],
    seconds: float | None,
    overrides: str,
) -> None:
    """Run uniform and the methods over the seeds, and print a table."""
    task = TASKS[task_name]
    if budgets:
        task = replace(
            task, budgets=budgets, batches=tuple(after - before for before, after in pairwise((0, *budgets)))
        )
    click.echo(machine())
    names = ["uniform", *(name for name in methods if name != "uniform")]
    parts: list[pd.DataFrame] = []
    for seed in seeds:
        for name in names:
            parts.append(run_seed(task_name, task, name, seed, overrides.split()))
            last = parts[-1].iloc[-1]
            click.echo(f"seed {seed} {name}: {last['accuracy']:.1%} after {last['answers']:.0f} answers", err=True)
    rows = pd.concat(parts)
    click.echo(f"{task_name}: {len(seeds)} seeds, {task.people}; intervals are 95 % t intervals of paired differences")
    for name in names:
        for line in compared(rows, name):
            click.echo(line)
    if seconds:
        accuracy = float(accuracy_over(rows, "uniform", np.array([seconds]))[0])
        for name in names[1:]:
            needed = seconds_to_reach(rows, name, accuracy)
            click.echo(
                f"{name} reaches {accuracy:.1%}, uniform's accuracy after {seconds:.0f} s, after {needed:.0f} "
                f"({needed / seconds:.2f} of the time)"
            )


if __name__ == "__main__":
    main()
