"""Stage one, first half: ask questions, append every answer durably to the feedback store.

The questions depend on the run's seed alone and each judgment's id on its question, so that an interrupted collection
goes on where it stopped and a repeated one adds nothing. Nothing that was judged is ever removed, whatever is forced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from feedback_store.errors import FeedbackError
from feedback_store.judgments import Comparison, Judgment, label_choice
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.files import sha256_of
from pipeline.gold import GoldLabels, folder_labels
from pipeline.run_folder import RunFolder
from pipeline.runtime import generator
from pipeline.workspace import Workspace, open_workspace
from stages.collect.queries import PairQueries, spread_over, uniform_pairs
from stages.collect.teachers.replay import answer_pairs, read_recorded
from stages.collect.teachers.simulated import SimulatedTeacher, parameters

ACKNOWLEDGED_TOGETHER = 256  # a teacher's answers come faster than a disk can sync, so that many share one sync


def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/collect/ and append to the feedback store. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("collect")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference)}
    if config.collect.teacher == "replay" and config.collect.replay.csv and config.collect.replay.csv.is_file():
        inputs["replay"] = sha256_of(config.collect.replay.csv)
    store = FeedbackStore(ws.run.feedback)
    if stage.is_current(inputs) and not force and store.files:
        return False
    if ws.runtime.is_main:
        stage.begin()
        added = _append_all(store, _judgments(ws))
        standing = len(store.comparisons()) + len(store.per_image_judgments())
        result = {"judgments": standing, "collect": {"added": added, "folder": str(store.folder)}}
        stage.finish(inputs, [], result)
    ws.runtime.wait()
    return True


def _append_all(store: FeedbackStore, judgments: Iterator[Judgment]) -> int:
    added = 0
    bar = tqdm(desc="collect", unit="judgment", leave=False, disable=None)
    try:
        while batch := list(islice(judgments, ACKNOWLEDGED_TOGETHER)):
            added += store.append(batch)
            bar.update(len(batch))
    except FeedbackError as error:
        raise UserError(str(error)) from error
    finally:
        bar.close()
    return added


def _judgments(ws: Workspace) -> Iterator[Judgment]:
    """Every question of this run with its teacher's answer, in order."""
    if ws.config.collect.teacher == "replay":
        return _replayed(ws)
    return _simulated(ws, folder_labels(ws.table, ws.classes))


def _pool(ws: Workspace) -> np.ndarray:
    """Training images that the reference was not given labels of."""
    labelled = ws.run.path / "reference" / "labelled.csv"
    known = {line.split(",")[0] for line in labelled.read_text(encoding="utf-8").splitlines()[1:]}
    train = ws.table.rows("train")
    pool = train[[image not in known for image in ws.table.ids[train]]]
    if not len(pool):
        raise UserError(
            "no image is left to be judged: the reference was given the labels of all; lower reference.labelled_per_class"
        )
    return pool


def _simulated(ws: Workspace, gold: GoldLabels) -> Iterator[Judgment]:
    pool = _pool(ws)
    pool = pool[gold.known[pool]]
    if not len(pool):
        raise UserError(
            f"collect.teacher: the simulated teacher needs gold labels (class folders), and {ws.table.root} has none"
        )
    utility = gold.utility(pool)
    mean_utility = float((ws.log_reference[pool].exp().numpy() * utility).sum(-1).mean())
    settings = ws.config.collect.simulated
    teacher = SimulatedTeacher(gold, parameters(settings), mean_utility, f"simulated-{settings.name}")
    random, answers = generator(ws.config.seed, 10), np.random.default_rng([ws.config.seed, 11])
    rows = spread_over(torch.from_numpy(pool), ws.config.collect.count or len(pool), random)
    if ws.config.collect.question == "label":
        labels = teacher.label(rows.numpy(), answers)
        yield from _label_choices(ws, rows.numpy(), labels, np.full(len(rows), teacher.name))
    else:
        queries = uniform_pairs(rows, ws.log_reference, random)
        yield from _comparisons(ws, queries, teacher.compare(queries, answers), np.full(len(rows), teacher.name))


def _replayed(ws: Workspace) -> Iterator[Judgment]:
    recorded = read_recorded(ws.config.collect.replay, ws.table, ws.classes)
    if ws.config.collect.question == "label":
        count = ws.config.collect.count or len(recorded.rows)
        yield from _label_choices(ws, recorded.rows[:count], recorded.labels[:count], recorded.annotators[:count])
    else:
        random = generator(ws.config.seed, 10)
        pool = torch.from_numpy(np.unique(recorded.rows))
        rows = spread_over(pool, ws.config.collect.count or len(recorded.rows), random)
        queries = uniform_pairs(rows, ws.log_reference, random)
        yield from _comparisons(
            ws, queries, *answer_pairs(recorded, rows.numpy(), queries.label_a.numpy(), queries.label_b.numpy())
        )


def _question_id(ws: Workspace, number: int, *what: str) -> str:
    """The same question of the same run has the same id, so that asking it again stores nothing twice."""
    text = "\x1f".join([ws.config.name, str(ws.config.seed), ws.config.collect.teacher, str(number), *what])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _label_choices(ws: Workspace, rows: np.ndarray, labels: np.ndarray, annotators: np.ndarray) -> Iterator[Judgment]:
    for number, (row, label, annotator) in enumerate(zip(rows, labels, annotators, strict=True)):
        image, source = ws.table.ids[row], ws.config.collect.teacher
        yield label_choice(
            image, ws.classes[label], id=_question_id(ws, number, image), annotator=str(annotator), source=source
        )


def _comparisons(
    ws: Workspace, queries: PairQueries, choices: np.ndarray, annotators: np.ndarray
) -> Iterator[Judgment]:
    for number in range(len(queries)):
        image = ws.table.ids[int(queries.rows[number])]
        a, b = ws.classes[int(queries.label_a[number])], ws.classes[int(queries.label_b[number])]
        yield Comparison(
            id=_question_id(ws, number, image, a, b), annotator=str(annotators[number]), source=ws.config.collect.teacher,
            image_a=image, label_a=a, image_b=image, label_b=b, choice=str(choices[number]),
        )  # fmt: skip


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    return click.style("collect", bold=True) + f"    {summary['judgments']} judgments in {summary['collect']['folder']}"
