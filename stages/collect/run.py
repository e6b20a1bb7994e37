"""Stage one, first half: ask questions, append every answer durably to the feedback store.

People answer on a page or in a window; teachers stand in for them in demonstrations and experiments. A teacher's
questions depend on the run's seed alone and each judgment's id on its question, so that an interrupted collection goes
on where it stopped and a repeated one adds nothing. Nothing that was judged is ever removed, whatever is forced.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
from tqdm import tqdm

from feedback_store.errors import FeedbackWarning
from feedback_store.records import Judgment
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.run.atomic_files import sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from stages.collect.ledger import STAND_INS
from stages.collect.teacher_judgments import judgments

ACKNOWLEDGED_TOGETHER = 256  # a teacher's answers come faster than a disk can sync, so that many share one sync
MANY = 100_000  # questions that take seconds to draw


@one_process("collect", unless=lambda config: config.collect.teacher == "people")  # several pages share leases
def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/collect/ and append to the feedback store. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("collect")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference)}
    if config.collect.teacher == "replay" and config.collect.replay.csv and config.collect.replay.csv.is_file():
        inputs["replay"] = sha256_of(config.collect.replay.csv)
    store = ws.run.open_store()
    people = config.collect.teacher == "people"
    if not people and stage.is_current(inputs) and not force and not store.is_empty():
        return False
    if ws.runtime.is_main:
        stage.begin()
        if (config.collect.count or 0) >= MANY:
            click.echo(f"drawing {config.collect.count:,} questions; this takes some seconds per million", err=True)
        added = _ask_people(ws, store) if people else _append_all(store, judgments(ws))
        standing = len(store.comparisons()) + len(store.per_image_judgments())
        result = {"judgments": standing, "collect": {"added": added, "folder": store.location}}
        stage.finish(inputs, [], result)
    ws.runtime.wait()
    return True


def _ask_people(ws: Workspace, store: FeedbackStore) -> int:
    """Open the page or the window; returns when it is closed, with the number of answers it took."""
    sources = [*store.comparisons()["source"], *store.per_image_judgments()["source"]]
    if made := sum(source in STAND_INS for source in sources):
        warnings.warn(
            f"{store.location} holds {made} answers of a teacher that stands in for people; people's are added to them. To keep "
            "them apart give this collection a folder of its own: SET=collect.folder=...",
            FeedbackWarning,
            stacklevel=2,
        )
    if ws.config.collect.ui == "tk":
        from stages.collect.tk.window import ask as ask_in_window

        return ask_in_window(ws, store)
    from stages.collect.web.server import ask as ask_on_page

    return ask_on_page(ws, store)


def _append_all(store: FeedbackStore, made: Iterator[Judgment]) -> int:
    added = 0
    bar = tqdm(desc="collect", unit="judgment", leave=False, disable=None)
    try:
        while batch := list(islice(made, ACKNOWLEDGED_TOGETHER)):
            added += store.append(batch)
            bar.update(len(batch))
    finally:
        bar.close()
    return added


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    return click.style("collect", bold=True) + f"    {summary['judgments']} judgments in {summary['collect']['folder']}"
