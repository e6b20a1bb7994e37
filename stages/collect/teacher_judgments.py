"""Judgments of teachers instead of people: simulated from gold labels, or replayed from a CSV file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch

from feedback_store.records import Judgment
from pipeline.data.gold_labels import GoldLabels, read_gold_labels
from pipeline.errors import UserError
from pipeline.kinds import JudgmentKind, Queries, Simulation, kinds
from pipeline.kinds.items import Item, items_of
from pipeline.kinds.teachers import parameters_of, teachers
from pipeline.run import next_command
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.strategies import Candidates, strategies
from stages.collect.question_plan import pool_of
from stages.collect.teachers.replay import read_recorded
from stages.collect.teachers.response_times import simulated_milliseconds


def teacher_judgments(ws: Workspace) -> Iterator[Judgment]:
    """All questions of this run with the teacher's answers, in order; deterministic."""
    if ws.config.collect.teacher == "replay":
        return _replayed(ws)
    return _simulated(ws, read_gold_labels(ws.table, ws.classes))


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
    parameters = parameters_of(settings.simulated)
    answers = np.random.default_rng([ws.config.seed, Stream.SIMULATED_ANSWERS])
    simulation = Simulation(gold, parameters, mean_utility, settings.rating_levels, answers)
    candidates = Candidates(torch.from_numpy(pool), ws.log_reference, generator(ws.config.seed, Stream.QUESTIONS))
    kind, count = kinds.get(settings.question), settings.count or len(pool)
    queries = strategies.get(settings.strategy).choose(kind, count, candidates)
    replies = teachers.get(settings.simulated.name).answer(queries, simulation)
    who = json.dumps({"name": settings.simulated.name, **asdict(parameters)}, sort_keys=True)
    times = simulated_milliseconds(
        queries, len(ws.classes), settings.simulated, np.random.default_rng([ws.config.seed, Stream.SIMULATED_SECONDS])
    )
    names = [f"simulated-{settings.simulated.name}"] * len(replies)
    return _records(ws, queries, replies, names, times, who=who)


def _replayed(ws: Workspace) -> Iterator[Judgment]:
    settings = ws.config.collect
    kind = kinds.get(settings.question)
    recorded = read_recorded(settings.replay, ws.table, ws.classes)
    count = settings.count or len(recorded.rows)
    queries = kind.query_each(torch.from_numpy(recorded.rows[:count]))
    if queries is not None:  # one question per recorded label
        entries = np.arange(len(queries))
    else:
        candidates = Candidates(
            torch.from_numpy(np.unique(recorded.rows)), ws.log_reference, generator(ws.config.seed, Stream.QUESTIONS)
        )
        queries = strategies.get(settings.strategy).choose(kind, count, candidates)
        entries = recorded.entries_for(queries.rows[:, 0].numpy())
    replies = kind.replay(queries, recorded.labels[entries], ws.classes)
    if replies is None:
        supported = ", ".join(one.name for one in kinds if type(one).replay is not JudgmentKind.replay)
        raise UserError(
            f"collect.question: recorded labels cannot answer {kind.name}; use {supported}, or another collect.teacher"
        )
    return _records(ws, queries, replies, recorded.annotators[entries].tolist(), [None] * len(replies), who="")


def _question_id(ws: Workspace, number: int, item: Item, who: str) -> str:
    """A deterministic id of a question to a teacher, so that a repeated collection stores nothing twice."""
    parts = [part for side in item.sides for part in side]
    text = "\x1f".join([ws.config.name, str(ws.config.seed), ws.config.collect.teacher, who, str(number), *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _records(
    ws: Workspace,
    queries: Queries,
    answers: Sequence[str],
    annotators: Sequence[str],
    times: Sequence[int | None],
    *,
    who: str,
) -> Iterator[Judgment]:
    items = items_of(queries, ws.table.ids.tolist(), ws.classes)
    source = ws.config.collect.teacher
    for number, (item, answer, name, ms) in enumerate(zip(items, answers, annotators, times, strict=True)):
        identity = _question_id(ws, number, item, who)
        yield item.judgment(answer, id=identity, annotator=str(name), source=source, response_ms=ms)
