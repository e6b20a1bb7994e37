"""`make collect` for texts: the judging page with pairs of texts side by side."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from pipeline.kinds.items import distinct, items_of
from pipeline.kinds.page_items import HashNumbers, PageItems, Plan
from pipeline.run.extension import StageFunctions
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import Stream, generator
from pipeline.text.config import TextConfig
from pipeline.text.kind import BETTER, TEXT_COMPARISON
from pipeline.text.pairs_csv import read_texts
from pipeline.text.table import TextTable, add_texts
from stages.text.text_run import open_text_run


def collect(
    config: TextConfig,
    functions: StageFunctions,
    *,
    force: bool,
    teacher: str,
    annotators: str | None,
    ui: str | None,
    live: bool,
) -> str:
    """Serve the judging page until Ctrl-C; returns what is printed.

    Raises:
        UserError: another teacher than people on the page, or fewer than two texts.
    """
    if teacher != "people" or live or ui not in (None, "web"):
        raise UserError("texts are judged by people on the page; leave TEACHER, LIVE and UI out")
    if annotators is not None:
        names = [name.strip() for name in annotators.split(",") if name.strip()]
        tree = config.model_dump(mode="json")
        tree["collect"]["annotators"] = names
        config = TextConfig.model_validate(tree)
    run = open_text_run(config)
    items = page_items(config, *texts_to_ask(config, run.table))
    added = functions.ask_about(items, run.store, click.echo)
    return _result(run.folder, run.store, added)


def texts_to_ask(config: TextConfig, table: TextTable) -> tuple[TextTable, TextTable]:
    """All texts of the run, and those that questions are drawn from: of `items.texts`, or all that were imported.

    Raises:
        UserError: fewer than two texts.
    """
    path: Path | None = config.items.texts
    if path is not None and not path.is_file():
        raise UserError(f"items.texts: {path}: no such file; name a CSV file, or a file with a text per line")
    asked = TextTable.of(text for _, text in read_texts(path, config.items.column)) if path else table
    if len(asked) < 2:
        where = f"{path} has {len(asked)}" if path else "none was imported, set items.texts or items.csv"
        raise UserError(f"items: comparing needs at least two texts; {where}")
    return add_texts(RunFolder(config).path, asked.texts), asked


def page_items(config: TextConfig, table: TextTable, asked: TextTable) -> PageItems:
    """The questions of this run; deterministic, and a larger `collect.count` appends some."""
    settings = config.collect
    pool = torch.tensor([table.position[one] for one in asked.ids])
    wanted = -(-(settings.count or len(asked) * settings.judgments_per_item) // settings.judgments_per_item)
    queries = TEXT_COMPARISON.draw(pool, wanted, torch.empty(0), generator(config.seed, Stream.QUESTIONS))
    plan = Plan(distinct(items_of(queries, table.ids, (BETTER,))), [], (BETTER,))
    return PageItems(
        settings,
        config.seed,
        RunFolder(config).path,
        plan,
        HashNumbers(table.ids),
        describe=lambda one: {"text": table.text(one)},
    )


def _result(folder: RunFolder, store: FeedbackStore, added: int) -> str:
    rows = len(store.comparisons())
    return f"{click.style('collect', bold=True)}    {added} rows added; {rows} judgments in {store.location}"
