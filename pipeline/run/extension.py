"""Extension: the commands of a run that does not classify images, and its kind of configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class Extension:
    """What the command line does with a configuration that has the extension's section instead of `images`.

    Attributes:
        about: what its runs are about, for messages: "a control task".
        settings: class of its configuration; it fulfils `pipeline.config.RunSettings`.
        commands: for each command that it has, e.g. `rounds` or `feedback stats`, a function of the configuration, the
            functions of other stages (`StageFunctions`) and the command's options, which returns what is printed.
    """

    about: str
    settings: type[BaseModel]
    commands: Mapping[str, Callable[..., str]]


@dataclass(frozen=True)
class StageFunctions:
    """Functions of stages that extensions use; the command line passes them, since stages do not import each other."""
