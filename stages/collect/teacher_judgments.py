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
from pipeline.kinds import JudgmentKind, Queries, Simulation, TeacherParameters, kinds
from pipeline.kinds.items import Item, items_of
from pipeline.kinds.teachers import parameters_of, teachers
from pipeline.run import next_command
from pipeline.run.runtime import Stream
from pipeline.run.workspace import Workspace
from pipeline.strategies import strategies
from stages.collect.audit_plan import interleaved_answers, split_pool, with_repeats
from stages.collect.question_plan import (
    audit_items,
    audit_queries,
    first_candidates,
    labelled_rows,
    pool_of,
    with_gold_tiles,
)
from stages.collect.teachers.replay import Recorded, read_recorded
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
    kind = kinds.get(settings.question).configured(settings)
    split = split_pool(ws, pool.numpy())
    wanted, audits_wanted = split.divide(settings.count or len(pool), kind.rows_per_question, settings.audit_fraction)
    audited = with_repeats(split.reserved.tolist(), audits_wanted, settings.repeat_fraction)
    queries = strategies.get(settings.strategy).choose(kind, wanted, first_candidates(ws, split))
    if settings.gold_fraction and labelled_rows(ws):  # gold items of other kinds are for people alone
        queries = with_gold_tiles(ws, kind, queries) or queries
    records = simulated_answers(ws, gold, pool, queries)
    if not audited:
        return records
    audits = simulated_answers(ws, gold, pool, audit_queries(audited), audit=True)
    return iter(interleaved_answers(records, audits, settings.audit_fraction))


def simulated_answers(
    ws: Workspace, gold: GoldLabels, pool: Tensor, queries: Queries, *, number: int = 0, audit: bool = False
) -> Iterator[Judgment]:
    """Answers of the simulated teacher, with simulated response times.

    Args:
        pool: [P] row numbers of all images that can be asked about.
        number: of the round; each has random streams of its own.
        audit: whether these are audit questions.
    """
    settings, seed = ws.config.collect, ws.config.seed
    rows = pool.numpy()
    mean_utility = float((ws.log_reference[rows].exp().numpy() * gold.utility(rows)).sum(-1).mean())
    parameters = parameters_of(settings.simulated)
    later = [number] if number else []  # so that a single collection is the first round
    random = np.random.default_rng([seed, Stream.SIMULATED_AUDIT if audit else Stream.SIMULATED_ANSWERS, *later])
    simulation = Simulation(gold, parameters, mean_utility, settings.rating_levels, random)
    replies = teachers.get(settings.simulated.name).answer(queries, simulation)
    who = describe_teacher(settings.simulated.name, parameters)
    seconds = np.random.default_rng([seed, Stream.SIMULATED_SECONDS, *([number, 1] if audit else later)])
    times = simulated_milliseconds(queries, replies, len(ws.classes), settings.simulated, seconds)
    names = [f"simulated-{settings.simulated.name}"] * len(replies)
    items = audit_items(ws, queries.rows[:, 0].tolist()) if audit else _items(ws, queries)
    return _records(ws, items, replies, names, times, who=who, round_number=number)


def describe_teacher(name: str, parameters: TeacherParameters) -> str:
    """A simulated teacher as one text, for ids. What is None is left out, as in versions without those parameters."""
    given = {key: value for key, value in asdict(parameters).items() if value is not None}
    return json.dumps({"name": name, **given}, sort_keys=True)


def _replayed(ws: Workspace) -> Iterator[Judgment]:
    settings = ws.config.collect
    kind = kinds.get(settings.question)
    recorded = read_recorded(settings.replay, ws.table, ws.classes)
    split, count = split_pool(ws, np.unique(recorded.rows)), settings.count or len(recorded.rows)
    audited = split.reserved[: split.count(count, settings.audit_fraction)]
    others = np.flatnonzero(np.isin(recorded.rows, split.ordinary))
    queries = kind.query_each(torch.from_numpy(recorded.rows[others][: count - len(audited)]))
    if queries is not None:  # one question per recorded label
        entries = others[: len(queries)]
    else:
        queries = strategies.get(settings.strategy).choose(kind, count - len(audited), first_candidates(ws, split))
        entries = recorded.entries_for(queries.rows[:, 0].numpy())
    records = recorded_answers(ws, recorded, queries, entries)
    if not len(audited):
        return records
    audits = recorded_answers(ws, recorded, audit_queries(audited.tolist()), audit=True)
    return iter(interleaved_answers(list(records), audits, settings.audit_fraction))


def recorded_answers(
    ws: Workspace,
    recorded: Recorded,
    queries: Queries,
    entries: np.ndarray | None = None,
    *,
    number: int = 0,
    audit: bool = False,
) -> Iterator[Judgment]:
    """Answers of people who recorded labels.

    Args:
        entries: [Q] index of the recorded label that answers each question; default: its image's first ones.
        number: of the round.
        audit: whether these are audit questions.

    Raises:
        UserError: labels cannot answer this kind of question.
    """
    if entries is None:
        entries = recorded.entries_for(queries.rows[:, 0].numpy())
    replies = kinds.get(queries.kind).replay(queries, recorded.labels[entries], ws.classes)
    if replies is None:
        supported = ", ".join(one.name for one in kinds if type(one).replay is not JudgmentKind.replay)
        raise UserError(
            f"collect.question: recorded labels cannot answer {queries.kind}; use {supported}, or another collect.teacher"
        )
    items = audit_items(ws, queries.rows[:, 0].tolist()) if audit else _items(ws, queries)
    names = recorded.annotators[entries].tolist()
    return _records(ws, items, replies, names, [None] * len(replies), who="", round_number=number)


def _items(ws: Workspace, queries: Queries) -> list[Item]:
    return items_of(queries, ws.table.ids.tolist(), ws.classes)


def _question_id(ws: Workspace, place: str, item: Item, who: str) -> str:
    """A deterministic id of a question to a teacher, so that a repeated collection stores nothing twice."""
    parts = [part for side in item.sides for part in side] + ["audit"] * item.audit
    text = "\x1f".join([ws.config.name, str(ws.config.seed), ws.config.collect.teacher, who, place, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _records(
    ws: Workspace,
    items: Sequence[Item],
    answers: Sequence[str],
    annotators: Sequence[str],
    times: Sequence[int | None],
    *,
    who: str,
    round_number: int = 0,
) -> Iterator[Judgment]:
    source = ws.config.collect.teacher
    for number, (item, answer, name, ms) in enumerate(zip(items, answers, annotators, times, strict=True)):
        place = f"{round_number}:{number}" if round_number else str(number)
        identity = _question_id(ws, place, item, who)
        yield from item.judgments(
            answer, id=identity, annotator=str(name), source=source, response_ms=ms, round=round_number
        )
