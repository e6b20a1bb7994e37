"""image-rlhf: the command line. The only file that knows all stages."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.config import Config, load_config
from pipeline.errors import UserError


class UserErrors(click.Group):
    """Prints a UserError as one clear message and exits with code 2; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
            ctx.exit(2)


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """The options every stage takes, turned into its first argument, a Config."""

    @click.option(
        "--config", "path", type=click.Path(path_type=Path), default=Path("configs/digits.yaml"), show_default=True,
        help="YAML file with the run's settings.",
    )  # fmt: skip
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help='Override settings, several in one string or option: --set "ppo.lr=1e-5 seed=3".',
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(path: Path, overrides: tuple[str, ...], **options: Any) -> None:
        command(load_config(path, [item for text in overrides for item in text.split()]), **options)

    return wrapped


force_option = click.option("--force", is_flag=True, help="Do it again although it is up to date.")

# Command, module and help of each stage, in the order of the pipeline. Modules are imported when they are run: torch
# takes seconds, and --help should not.
STAGES = (
    ("reference", "stages.reference", "Train the reference policy on a few labelled images a class, and freeze it."),
    ("collect", "stages.collect.run", "Ask for judgments and append them to the feedback store."),
    ("train-reward", "stages.reward.run", "Train the reward model on the judgments."),
    ("ppo", "stages.ppo.run", "Align the policy with PPO against the frozen reward model."),
)


@click.group(cls=UserErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="image-rlhf")
def main() -> None:
    """Reinforcement learning from human feedback for image classification.

    The stages, in order: reference, collect, train-reward, ppo, infer. `run` does all but the last in one process.
    """


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def run_stage(name: str, module: str, config: Config, force: bool) -> None:
    """Run one stage and say in a line what it made, or that there was nothing to do."""
    from pipeline.run_folder import RunFolder

    stage = importlib.import_module(module)
    changed = stage.run(config, force)
    if _is_main_process():
        note = "" if changed else f"  (up to date; `make {name} FORCE=1` does it again)"
        click.echo(stage.describe(RunFolder(config).write_summary()) + note)


def _add_stage(name: str, module: str, text: str) -> None:
    @main.command(name, help=text)
    @configured
    @force_option
    def command(config: Config, force: bool) -> None:
        run_stage(name, module, config, force)


for _stage in STAGES:
    _add_stage(*_stage)


@main.command()
@configured
@click.option("--images", "pattern", required=True, help="A file, a folder or a glob.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="CSV to write [default: runs/<name>/infer/predictions.csv]."
)
def infer(config: Config, pattern: str, output: Path | None) -> None:
    """Predict labels with the aligned policy."""
    from stages.infer import run as stage

    click.echo(stage.describe(stage.run(config, pattern, output)))


@main.command()
@configured
@force_option
def run(config: Config, force: bool) -> None:
    """All stages up to ppo in one process, then the reference beside the aligned policy."""
    from pipeline.run_folder import RunFolder
    from stages.table import comparison_table

    for name, module, _ in STAGES:
        run_stage(name, module, config, force)
    if _is_main_process():
        click.echo(comparison_table(RunFolder(config).write_summary()))


@main.command()
@click.argument("name", type=click.Choice(["ants_bees", "digits"]))
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Where to put it."
)
def data(name: str, folder: Path) -> None:
    """Get a data set: the tutorial's ants and bees (a download), or the embedded digits as image files."""
    from pipeline.images.digits import write_digits
    from pipeline.images.download import download_ants_bees

    root = write_digits(folder / "digits") if name == "digits" else download_ants_bees(folder)
    click.echo(f"{name} is in {root}")


if __name__ == "__main__":
    main()
