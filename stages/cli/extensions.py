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
EXTENSIONS: dict[str, str] = {"environment": "stages.control.extension", "items": "stages.text.extension"}


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
    name = _command_name(click.get_current_context())
    if name not in extension.commands:
        commands = ", ".join(extension.commands)
        raise UserError(f"{path}: `{name}` does nothing for {extension.about}; its commands are {commands}")
    click.echo(extension.commands[name](config, stage_functions(), **options))


def _command_name(context: click.Context) -> str:
    """The command as it is written after the program's name, e.g. `feedback stats`."""
    if context.parent is None:
        return ""
    return f"{_command_name(context.parent)} {context.info_name}".strip()


def stage_functions() -> StageFunctions:
    """The functions of stages that extensions use."""
    from stages.reward import run as reward
    from stages.reward.card import write_card
    from stages.reward.folds import bootstrap_by_image, split_by_item
    from stages.reward.item_heads import curve_point, fit_heads
    from stages.reward.judgment_set import read_judgments
    from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood

    return StageFunctions(
        ask_about=_ask_about,
        read_judgments=read_judgments,
        likelihood_parameters=LikelihoodParameters,
        log_likelihood=log_likelihood,
        split=split_by_item,
        bootstrap=bootstrap_by_image,
        fit_heads=fit_heads,
        curve_point=curve_point,
        write_card=write_card,
        describe_reward=reward.describe,
    )
