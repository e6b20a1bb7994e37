"""The commands that run one stage, and those that run several."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.run_stage import STAGE_MODULES
from stages.cli import live_commands
from stages.cli.options import configured, force_option

HELP = {
    "reference": "Train the reference policy on a few labelled images per class, and freeze it.",
    "collect": "Ask for judgments and append them to the feedback store.",
    "train-reward": "Train the reward model on the judgments.",
    "ppo": "Align the policy with PPO against the frozen reward model.",
}
# Command, module and help of each stage, in the order of the pipeline.
STAGES = tuple((name, module, HELP[name]) for name, module in STAGE_MODULES.items())


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def run_stage(name: str, module: str, config: Config, force: bool, **options: Any) -> None:
    """Run one stage and print its result, or that it was up to date; options: further arguments of its `run`."""
    from pipeline.run.run_folder import RunFolder

    stage = importlib.import_module(module)
    changed = stage.run(config, force, **options)
    if _is_main_process():
        note = "" if changed else f"  (up to date; `{next_command.make(name)} FORCE=1` runs it again)"
        click.echo(stage.describe(RunFolder(config).write_summary()) + note)


def _command(name: str, module: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @configured
    @force_option
    def command(config: Config, force: bool) -> None:
        run_stage(name, module, config, force)

    return command


@click.command()
@configured
@force_option
@click.option(
    "--teacher",
    type=click.Choice(["people", "simulated", "replay"]),
    default="people",
    show_default=True,
    help="Who answers: people on a page or in a window, or a simulated or replay teacher.",
)
@click.option("--annotators", help="Names of the annotators, separated by commas; each gets a personal link.")
@click.option("--ui", type=click.Choice(["web", "tk"]), help="A page in the browser, or a window.")
@click.option(
    "--live", is_flag=True, help="Train while people answer, and rank the questions anew after each training."
)
def collect(config: Config, force: bool, teacher: str, annotators: str | None, ui: str | None, live: bool) -> None:
    """Ask for judgments and append them to the feedback store."""
    changed: dict[str, Any] = {"teacher": teacher}
    if live and "audit_fraction" not in config.collect.model_fields_set:
        changed["audit_fraction"] = config.live.audit_fraction
    if annotators is not None:
        changed["annotators"] = [name.strip() for name in annotators.split(",") if name.strip()]
    if ui is not None:
        changed["ui"] = ui
    tree = config.model_dump(mode="json")
    tree["collect"] |= changed
    name, module, _ = next(stage for stage in STAGES if stage[0] == "collect")
    training = live_commands.TRAINING_COMMAND if live else ()
    run_stage(name, module, parse_config(tree, "collect"), force, announce=click.echo, training=training)


@click.command()
@configured
@force_option
def run(config: Config, force: bool) -> None:
    """Run all stages up to ppo in one process, in rounds if `rounds.count` is set; then compare reference and policy."""
    from pipeline.run.run_folder import RunFolder
    from stages.summary_table import comparison_table

    if config.rounds.count or config.rounds.batches:
        _in_rounds(config, None)
    else:
        for name, module, _ in STAGES:
            run_stage(name, module, config, force)
    if _is_main_process():
        click.echo(comparison_table(RunFolder(config).write_summary()))


def _in_rounds(config: Config, count: int | None) -> None:
    from stages.collect.next_round import ask
    from stages.rounds.run import run as run_rounds

    run_rounds(config, count, click.echo, ask)


@click.command()
@configured
@click.option("--rounds", "count", type=click.IntRange(1, 1000), help="Number of rounds; default: rounds.count, or 3.")
@click.option("--seeds", type=click.IntRange(1), help="Control tasks: number of runs, each with its own seed.")
@click.option(
    "--replay", is_flag=True, help="Ask nobody: train every finished round again from the stored rows, and compare."
)
def rounds(config: Config, count: int | None, seeds: int | None, replay: bool) -> None:
    """Ask a teacher in rounds: each trains the reward model, aligns, and chooses what is asked next."""
    if seeds is not None:
        raise UserError("SEEDS: rounds about images have one seed; `make compare SEEDS=5` compares over several")
    if replay:
        live_commands.replay_rounds(config)
        return
    _in_rounds(config, count)
    if _is_main_process():
        click.echo(f"the table of all rounds is {config.runs / config.name / 'rounds' / 'rounds.csv'}")


@click.command()
@configured
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Number of runs, each with its own seed."
)
@click.option("--only", multiple=True, help="A method by its name in the table; may be given several times.")
def compare(config: Config, seeds: int, only: tuple[str, ...]) -> None:
    """Compare PPO with baselines, on the same judgments and seeds."""
    from pipeline.data.feature_cache import Features
    from pipeline.learning.environment import Environment
    from pipeline.models.backbone import Split
    from pipeline.run.checkpoints import Checkpoints
    from pipeline.tracking.metrics_log import Metrics
    from stages.compare import run as stage
    from stages.compare.baselines import Learners
    from stages.ppo.run import optimise
    from stages.ppo.start import choose_start
    from stages.reward.training import fit_policy

    def prepare(one: Config) -> None:
        automatic = one.collect.teacher in stage.AUTOMATIC_TEACHERS
        for name, module, _ in STAGES[:3]:
            if name != "collect" or automatic:
                importlib.import_module(module).run(one)

    def align(environment: Environment, metrics: Metrics) -> tuple[Split, Features, int, float]:
        start = choose_start(environment)
        ended = optimise(environment, start.pieces, start.features, metrics=metrics, checkpoints=Checkpoints(None, ""))
        return start.pieces, start.features, ended.images, ended.beta

    learners = Learners(prepare, fit_policy, align)
    click.echo(stage.run(config, seeds, learners, list(only)))


COMMANDS = (
    *(_command(*stage) for stage in STAGES if stage[0] != "collect"),
    collect,
    run,
    rounds,
    compare,
    live_commands.training,
)
