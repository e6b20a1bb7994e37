"""The options that commands share: a configuration and overrides of its settings, and --force."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline.config import load_config
from pipeline.run import next_command
from stages.cli.error_log import set_run
from stages.cli.extensions import extension_of, run_extension


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options of every stage; it gets a Config as its first argument."""

    @click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        default=next_command.DEFAULT,
        show_default=True,
        help="YAML file with the run's settings.",
    )
    @click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help='Override settings, several in one string or option: --set "ppo.lr=1e-5 seed=3".',
    )
    @functools.wraps(command)
    def wrapped(path: Path, overrides: tuple[str, ...], **options: Any) -> None:
        next_command.set_config(path)
        changes = [item for text in overrides for item in text.split()]
        if extension := extension_of(path):
            run_extension(extension, path, changes, options)
            return
        config = load_config(path, changes)
        set_run(config.runs, config.name)
        command(config, **options)

    return wrapped


force_option = click.option("--force", is_flag=True, help="Run it again even if it is up to date.")
