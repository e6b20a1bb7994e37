"""Judgments of the teachers that stand in for people: simulated from gold labels, or replayed from a CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from feedback_store.records import Judgment
from pipeline.data.gold_labels import GoldLabels, folder_labels
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from stages.collect.items import Item, items_of
from stages.collect.queries import NONE, Queries, draw, spread_over, uniform_pairs
from stages.collect.question_plan import pool_of
from stages.collect.teachers.replay import answer_pairs, read_recorded
from stages.collect.teachers.simulated import SimulatedTeacher, parameters


def judgments(ws: Workspace) -> Iterator[Judgment]:
    """Every question of this run with its teacher's answer, in order; the same ones each time."""
    if ws.config.collect.teacher == "replay":
        return _replayed(ws)
    return _simulated(ws, folder_labels(ws.table, ws.classes))


def _simulated(ws: Workspace, gold: GoldLabels) -> Iterator[Judgment]:
    pool = pool_of(ws)
    pool = pool[gold.known[pool]]
    if not len(pool):
        raise UserError(
            f"collect.teacher: the simulated teacher answers by true labels (class folders), and {ws.table.root} has none; "
            f"let people judge: `{next_command.make('collect')}`, then `{next_command.make('train-reward ppo')}`"
        )
    utility = gold.utility(pool)
    mean_utility = float((ws.log_reference[pool].exp().numpy() * utility).sum(-1).mean())
    settings = ws.config.collect
    teacher = SimulatedTeacher(
        gold, parameters(settings.simulated), mean_utility, f"simulated-{settings.simulated.name}"
    )
    random = generator(ws.config.seed, Stream.QUESTIONS)
    answers = np.random.default_rng([ws.config.seed, Stream.SIMULATED_ANSWERS])
    queries = draw(settings.question, torch.from_numpy(pool), settings.count or len(pool), ws.log_reference, random)
    given = teacher.answer(queries, settings.rating_levels, answers)
    who = json.dumps({"name": settings.simulated.name, **teacher.p.__dict__}, sort_keys=True)
    return _records(ws, queries, given, [teacher.name] * len(given), who)


def _replayed(ws: Workspace) -> Iterator[Judgment]:
    settings = ws.config.collect
    recorded = read_recorded(settings.replay, ws.table, ws.classes)
    if settings.question == "label":
        count = settings.count or len(recorded.rows)
        rows = torch.from_numpy(recorded.rows[:count])
        none = torch.full_like(rows, NONE)
        given = [ws.classes[number] for number in recorded.labels[:count]]
        return _records(ws, Queries("label", rows, none, none, none), given, recorded.annotators[:count], "")
    if settings.question != "comparison":
        raise UserError(
            f"collect.question: recorded labels answer `comparison` and `label`, not `{settings.question}`; "
            "ask people, or the simulated teacher"
        )
    random = generator(ws.config.seed, Stream.QUESTIONS)
    pool = torch.from_numpy(np.unique(recorded.rows))
    queries = uniform_pairs(spread_over(pool, settings.count or len(recorded.rows), random), ws.log_reference, random)
    asked = (queries.rows_a.numpy(), queries.label_a.numpy(), queries.label_b.numpy())
    choices, annotators = answer_pairs(recorded, *asked)
    return _records(ws, queries, choices.tolist(), annotators, "")


def _question_id(ws: Workspace, number: int, item: Item, who: str) -> str:
    """The same question to the same teacher in the same run has the same id, so that asking again stores nothing twice."""
    about = [item.image_a, item.label_a, item.image_b, item.label_b]
    text = "\x1f".join([ws.config.name, str(ws.config.seed), ws.config.collect.teacher, who, str(number), *about])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _records(
    ws: Workspace, queries: Queries, answers: Sequence[str], annotators: Sequence[str] | np.ndarray, who: str
) -> Iterator[Judgment]:
    items = items_of(queries, ws.table.ids.tolist(), ws.classes)
    for number, (item, answer, annotator) in enumerate(zip(items, answers, annotators, strict=True)):
        yield item.judgment(
            answer, id=_question_id(ws, number, item, who), annotator=str(annotator), source=ws.config.collect.teacher
        )
