"""Extension: the commands of a run that does not classify images, and its kind of configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from feedback_store.store import FeedbackStore
    from pipeline.kinds.page_items import PageItems

AskAbout = Callable[["PageItems", "FeedbackStore", Callable[[str], object]], int]


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
    """Functions of stages that extensions use; the command line passes them, since stages do not import each other.

    Attributes:
        ask_about: serves the judging page about any items (`pipeline.kinds.page_items.PageItems`) and returns the number
            of rows stored; its further arguments are the store and a function that announces the links, line by line.
        read_judgments: of a store, the row numbers of items by id, class names and an objective: a set of judgments.
        likelihood_parameters: class of what is learned beside utilities; of a set of judgments and `RewardConfig`.
        log_likelihood: of utilities [U, C], their row numbers [U], a set of judgments and its parameters: [M].
        split: a set of judgments into one to train on and one to hold out, with no item in both.
        bootstrap: a sample of a set of judgments, by item.
        fit_heads: linear heads on features [N, D] (`FittedHeads`).
        curve_point: of the learning curve, for the card.
        write_card: into a folder, of `CardItems`, `Evaluated` and all judgments; returns its entries in summary.json.
        describe_reward: two lines for the terminal, of a summary.
    """

    ask_about: AskAbout
    read_judgments: Callable[..., Any]
    likelihood_parameters: Callable[..., Any]
    log_likelihood: Callable[..., Any]
    split: Callable[..., Any]
    bootstrap: Callable[..., Any]
    fit_heads: Callable[..., Any]
    curve_point: Callable[..., dict[str, float]]
    write_card: Callable[..., dict[str, Any]]
    describe_reward: Callable[[dict[str, Any]], str]
