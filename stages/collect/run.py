"""The stage collect: ask questions and append every answer durably to the feedback store.

People answer on a page or in a window; simulated and replay teachers answer in demonstrations and experiments. A
teacher's judgments are deterministic, so that an interrupted collection resumes and a repeated one adds nothing. The
stage never removes judgments, even if it is forced.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import click
import pandas as pd
from tqdm import tqdm

from feedback_store.audit import base_source
from feedback_store.errors import FeedbackWarning
from feedback_store.records import Judgment
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.learning.person_seconds import duration, person_seconds
from pipeline.run.atomic_files import sha256_of
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from stages.collect.ledger import TEACHER_SOURCES
from stages.collect.teacher_judgments import teacher_judgments

_log = logging.getLogger(__name__)

BATCH_SIZE = 256  # a teacher's judgments per fsync
SLOW_COUNT = 100_000  # drawing this many questions takes seconds


@one_process("collect", unless=lambda config: config.collect.teacher == "people")  # several pages share leases
def run(
    config: Config,
    force: bool = False,
    announce: Callable[[str], object] = _log.info,
    training: Sequence[str] = (),
) -> bool:
    """Write runs/<name>/collect/ and append to the feedback store. Returns whether there was anything to do.

    Args:
        announce: is called with the links of the page, line by line, once the server listens; default: logs them (INFO).
        training: command of the process that trains while people answer (live collection); empty: none.

    Raises:
        UserError: live collection without people on a page, or only the first rows are to be read.
    """
    if training and (config.collect.teacher != "people" or config.collect.ui != "web"):
        raise UserError("collect: LIVE=1 (--live) needs people on the page; leave TEACHER and UI out")
    if config.collect.first_rows is not None:
        raise UserError("collect.first_rows: it is for training on the first stored rows; remove it to collect")
    stage = RunFolder(config).stage("collect")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference)}
    if config.collect.teacher == "replay" and config.collect.replay.csv and config.collect.replay.csv.is_file():
        inputs["replay"] = sha256_of(config.collect.replay.csv)
    store = ws.run.open_store()
    people = config.collect.teacher == "people"
    if people and ws.runtime.world > 1:
        raise UserError("collect: people answer in one process; start it without torchrun")
    if not people and stage.is_current(inputs) and not force and not store.is_empty():
        return False
    if ws.runtime.is_main:
        stage.begin()
        if (config.collect.count or 0) >= SLOW_COUNT:
            _log.info(f"drawing {config.collect.count:,} questions; this takes some seconds per million")
    judgments = None if people else teacher_judgments(ws)  # by all processes, which divide passes over images
    if ws.runtime.is_main:
        added = _ask_people(ws, store, announce, training) if judgments is None else _append_all(store, judgments)
        tables = [store.comparisons(), store.per_image_judgments()]
        result = {"judgments": sum(map(len, tables)), "collect": {"added": added, "folder": store.location}}
        result |= _seconds(tables, len(ws.classes))
        stage.finish(inputs, [], result)
    ws.runtime.wait()
    return True


def _ask_people(ws: Workspace, store: FeedbackStore, announce: Callable[[str], object], training: Sequence[str]) -> int:
    """Open the page or the window until it is closed; returns the number of rows stored."""
    sources = [*store.comparisons()["source"], *store.per_image_judgments()["source"]]
    if automatic := sum(base_source(source) in TEACHER_SOURCES for source in sources):
        warnings.warn(
            f"{store.location}: {automatic} judgments are of a simulated or replay teacher, and people's are added to them; to "
            "separate them set a new folder: SET=collect.folder=...",
            FeedbackWarning,
            stacklevel=2,
        )
    if ws.config.collect.ui == "tk":
        from stages.collect.tk.window import ask as ask_in_window

        return ask_in_window(ws, store)
    from stages.collect.web.server import ask as ask_on_page

    return ask_on_page(ws, store, announce, training)


def _append_all(store: FeedbackStore, judgments: Iterator[Judgment]) -> int:
    added = 0
    bar = tqdm(desc="collect", unit="judgment", leave=False, disable=None)
    try:
        while batch := list(islice(judgments, BATCH_SIZE)):
            added += store.append(batch)
            bar.update(len(batch))
    finally:
        bar.close()
    return added


def _seconds(tables: list[pd.DataFrame], classes: int) -> dict[str, Any]:
    """Seconds that all current judgments cost, and how many of these are simulated."""
    seconds = {one.simulated: round(one.total, 1) for one in person_seconds(tables, classes)}
    return {"seconds_of_people": round(sum(seconds.values()), 1), "seconds_simulated": seconds.get(True, 0.0)}


def describe(summary: dict[str, Any]) -> str:
    """The result in one line for the terminal."""
    line = f"    {summary['judgments']} judgments in {summary['collect']['folder']}"
    simulated = summary.get("seconds_simulated", 0.0)  # results of earlier versions have no seconds
    people = summary.get("seconds_of_people", 0.0) - simulated
    if people > 0:
        line += f", about {duration(people)} of people's time"
    if simulated:
        line += f", about {duration(simulated)} of simulated people's time"
    return click.style("collect", bold=True) + line
