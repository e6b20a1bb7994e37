"""Judgments of teachers instead of people: simulated from gold labels, or replayed from a CSV file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

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
from stages.collect.question_plan import features_of, pool_of
from stages.collect.teachers.replay import read_recorded
from stages.collect.teachers.response_times import simulated_milliseconds


def teacher_judgments(ws: Workspace) -> Iterator[Judgment]:
    """All questions of this run with the teacher's answers, in order; deterministic."""
    if ws.config.collect.teacher == "replay":
        return _replayed(ws)
    return _simulated(ws, read_gold_labels(ws.table, ws.classes))


def answerable(ws: Workspace, gold: GoldLabels) -> Tensor:
    """Row numbers of the images that a simulated teacher can be asked about.

    Raises:
        UserError: no image has a true label.
    """
    pool = pool_of(ws)
    pool = pool[gold.known[pool]]
    if not len(pool):
        raise UserError(
            f"collect.teacher: the simulated teacher answers by true labels (class folders), and {ws.table.root} has none; "
            f"let people judge: `{next_command.make('collect')}`, then `{next_command.make('train-reward ppo')}`"
        )
    return torch.from_numpy(pool)


def _simulated(ws: Workspace, gold: GoldLabels) -> Iterator[Judgment]:
    settings, pool = ws.config.collect, answerable(ws, gold)
    candidates = Candidates(
        pool, ws.log_reference, generator(ws.config.seed, Stream.QUESTIONS), represent=lambda: features_of(ws)
    )
    kind = kinds.get(settings.question)
    queries = strategies.get(settings.strategy).choose(kind, settings.count or len(pool), candidates)
    return simulated_answers(ws, gold, pool, queries)


def simulated_answers(
    ws: Workspace, gold: GoldLabels, pool: Tensor, queries: Queries, number: int = 0
) -> Iterator[Judgment]:
    """Answers of the simulated teacher, with simulated response times.

    Args:
        pool: [P] row numbers of all images that can be asked about.
        number: of the round; each has random streams of its own.
    """
    settings, seed = ws.config.collect, ws.config.seed
    rows = pool.numpy()
    mean_utility = float((ws.log_reference[rows].exp().numpy() * gold.utility(rows)).sum(-1).mean())
    parameters = parameters_of(settings.simulated)
    later = [number] if number else []  # so that a single collection is the first round
    answers = np.random.default_rng([seed, Stream.SIMULATED_ANSWERS, *later])
    simulation = Simulation(gold, parameters, mean_utility, settings.rating_levels, answers)
    replies = teachers.get(settings.simulated.name).answer(queries, simulation)
    who = json.dumps({"name": settings.simulated.name, **asdict(parameters)}, sort_keys=True)
    random = np.random.default_rng([seed, Stream.SIMULATED_SECONDS, *later])
    times = simulated_milliseconds(queries, len(ws.classes), settings.simulated, random)
    names = [f"simulated-{settings.simulated.name}"] * len(replies)
    return _records(ws, queries, replies, names, times, who=who, round_number=number)


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


def _question_id(ws: Workspace, place: str, item: Item, who: str) -> str:
    """A deterministic id of a question to a teacher, so that a repeated collection stores nothing twice."""
    parts = [part for side in item.sides for part in side]
    text = "\x1f".join([ws.config.name, str(ws.config.seed), ws.config.collect.teacher, who, place, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _records(
    ws: Workspace,
    queries: Queries,
    answers: Sequence[str],
    annotators: Sequence[str],
    times: Sequence[int | None],
    *,
    who: str,
    round_number: int = 0,
) -> Iterator[Judgment]:
    items = items_of(queries, ws.table.ids.tolist(), ws.classes)
    source = ws.config.collect.teacher
    for number, (item, answer, name, ms) in enumerate(zip(items, answers, annotators, times, strict=True)):
        place = f"{round_number}:{number}" if round_number else str(number)
        identity = _question_id(ws, place, item, who)
        yield item.judgment(answer, id=identity, annotator=str(name), source=source, response_ms=ms, round=round_number)
