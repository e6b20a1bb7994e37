"""The command line `image-rlhf`: the only module that imports every stage."""

from __future__ import annotations

from pathlib import Path

import click

from stages.cli import stage_commands, use_commands
from stages.cli.error_boundary import UserErrors
from stages.cli.feedback_commands import feedback
from stages.cli.stage_commands import STAGES
from stages.cli.store_commands import store

__all__ = ["STAGES", "main"]


@click.group(cls=UserErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="image-rlhf")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Reinforcement learning from human feedback for image classification.

    The stages, in order: reference, collect, train-reward, ppo, infer. `run` does all but the last in one process;
    `report` writes a page about the run, `serve` and `export` make the policy available to other programs.
    """


@main.command()
def settings() -> None:
    """Print every setting of a configuration, its default and its meaning (docs/settings.md)."""
    from pipeline.config import settings_table

    click.echo(settings_table(), nl=False)


@main.command()
@click.argument("name", type=click.Choice(["ants_bees", "digits"]))
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Where to put it."
)
def data(name: str, folder: Path) -> None:
    """Get a data set: download the tutorial's ants and bees, or write the embedded digits as image files."""
    from pipeline.data.download import download_ants_bees
    from pipeline.data.sources.digits import write_digits

    root = write_digits(folder / "digits") if name == "digits" else download_ants_bees(folder)
    click.echo(f"{name} is in {root}")


for _command in (*stage_commands.COMMANDS, *use_commands.COMMANDS, feedback, store):
    main.add_command(_command)
