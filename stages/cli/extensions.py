"""Runs that do not classify images: a section of the configuration names the extension, which is imported only then."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.config import load_settings, read_tree
from pipeline.errors import UserError
from pipeline.run.extension import Extension, StageFunctions
from stages.cli.error_log import set_run

if TYPE_CHECKING:
    from feedback_store.store import FeedbackStore
    from pipeline.kinds.page_items import PageItems

# The module of each extension, which defines EXTENSION, by the section that a configuration has instead of `images`.
EXTENSIONS: dict[str, str] = {"environment": "stages.control.extension"}


def _ask_about(items: PageItems, store: FeedbackStore, announce: Callable[[str], object]) -> int:
    from stages.collect.web.server import ask_about  # imports what only a server needs

    return ask_about(items, store, announce)


def extension_of(path: Path) -> Extension | None:
    """The extension that a configuration file is for; None: it classifies images."""
    tree = read_tree(path)
    section = next((name for name in EXTENSIONS if name in tree), None)
    if section is None:
        return None
    if "images" in tree:
        raise UserError(f"{path}: has both '{section}' and 'images'; a run is about one of them, remove the other")
    extension: Extension = importlib.import_module(EXTENSIONS[section]).EXTENSION
    return extension


def run_extension(extension: Extension, path: Path, overrides: list[str], options: dict[str, Any]) -> None:
    """Run the current command for an extension, and print what it returns.

    Raises:
        UserError: the extension has no such command.
    """
    config: Any = load_settings(extension.settings, path, overrides)
    set_run(config.runs, config.name)
    name = click.get_current_context().command_path.partition(" ")[2]
    if name not in extension.commands:
        commands = ", ".join(extension.commands)
        raise UserError(f"{path}: `{name}` does nothing for {extension.about}; its commands are {commands}")
    click.echo(extension.commands[name](config, StageFunctions(_ask_about), **options))
