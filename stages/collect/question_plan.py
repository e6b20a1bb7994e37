"""The questions of a run: items from the query strategy, audit items among them, and gold items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pipeline.data.gold_labels import GoldLabels
from pipeline.data.labelled import labelled_rows as read_labelled_rows
from pipeline.data.representation import representation
from pipeline.errors import UserError
from pipeline.kinds import AUDIT_KIND, JudgmentKind, Queries, kinds
from pipeline.kinds.items import Item, distinct, items_of
from pipeline.kinds.page_items import Plan
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.strategies import Candidates, strategies
from stages.collect.audit_plan import AuditSplit, interleaved, split_pool


def labelled_rows(ws: Workspace) -> dict[int, int]:
    """Class number of each labelled image of the reference, by row."""
    return read_labelled_rows(ws.run.require("reference", "labelled.csv"), ws.table.position, ws.classes)


def pool_of(ws: Workspace) -> np.ndarray:
    """Row numbers of the training images that the reference has no labels of.

    Raises:
        UserError: the reference has the labels of all images.
    """
    known = labelled_rows(ws)
    train = ws.table.rows("train")
    pool = train[[row not in known for row in train]]
    if not len(pool):
        raise UserError(
            "no image is left to judge: the reference has the labels of all images; lower reference.labelled_per_class"
        )
    return pool


def features_of(ws: Workspace) -> np.ndarray:
    """Vectors [N, D] of all images, in which strategies compare them."""
    return representation(ws.cut(ws.build())[1])


def first_candidates(ws: Workspace, split: AuditSplit) -> Candidates:
    """What a strategy chooses from before anything was learned."""
    return Candidates(
        torch.from_numpy(split.ordinary),
        ws.log_reference,
        generator(ws.config.seed, Stream.QUESTIONS),
        represent=lambda: features_of(ws),
    )


def plan(ws: Workspace) -> Plan:
    """The items of this run; deterministic, and a larger `collect.count` appends items.

    Raises:
        UserError: no image to ask about, or gold items are wanted and the reference has no labels.
    """
    settings = ws.config.collect
    pool = pool_of(ws)
    kind = kinds.get(settings.question).configured(settings)
    rows = -(-(settings.count or len(pool) * settings.judgments_per_item) // settings.judgments_per_item)
    split = split_pool(ws, pool)
    wanted, audits = split.divide(rows, kind.rows_per_question, settings.audit_fraction)
    queries = strategies.get(settings.strategy).choose(kind, wanted, first_candidates(ws, split))
    hidden = with_gold_tiles(ws, kind, queries) if settings.gold_fraction else None
    items = distinct(items_of(queries if hidden is None else hidden, ws.table.ids.tolist(), ws.classes))
    audited = audit_items(ws, split.reserved[:audits].tolist())
    items = interleaved(items, audited, settings.audit_fraction, kind.rows_per_question)
    separate = settings.gold_fraction and hidden is None
    return Plan(items, _gold_items(ws, kind, len(items)) if separate else [], ws.classes)


def audit_queries(rows: list[int]) -> Queries:
    """An audit question about each of these images."""
    queries = AUDIT_KIND.query_each(torch.tensor(rows, dtype=torch.long))
    assert queries is not None, "audit questions ask about an image, not about a label that a model drew"
    return queries


def audit_items(ws: Workspace, rows: list[int]) -> list[Item]:
    """The same as items."""
    items = items_of(audit_queries(rows), ws.table.ids.tolist(), ws.classes)
    return [replace(item, audit=True) for item in items]


def known_labels(ws: Workspace) -> tuple[list[int], GoldLabels]:
    """Rows of the labelled images of the reference, ascending, and their classes; -1 for other images."""
    known = labelled_rows(ws)
    if not known:
        raise UserError(
            "collect.gold_fraction: gold items need labelled images, and the reference has none; set it to 0, or raise "
            "reference.labelled_per_class"
        )
    labels = np.full(len(ws.table), -1)
    labels[list(known)] = list(known.values())
    return sorted(known), GoldLabels(ws.classes, labels)


def with_gold_tiles(ws: Workspace, kind: JudgmentKind, queries: Queries, number: int = 0) -> Queries | None:
    """Pages with a share of `collect.gold_fraction` of images whose class is known; None for other kinds.

    Args:
        number: of the round; each has a random stream of its own.
    """
    _, gold = known_labels(ws)
    random = generator(ws.config.seed, Stream.GOLD_QUESTIONS, *([number] if number else []))
    return kind.with_gold_tiles(queries, gold, ws.config.collect.gold_fraction, random)


def _gold_items(ws: Workspace, kind: JudgmentKind, wanted: int) -> list[Item]:
    known, gold = known_labels(ws)
    random = generator(ws.config.seed, Stream.GOLD_QUESTIONS)
    pool = torch.tensor(known)
    queries = kind.draw(pool, max(wanted, len(pool)), ws.log_reference, random)
    queries = kind.with_known_answer(queries, gold, random)
    return [replace(item, gold=True) for item in distinct(items_of(queries, ws.table.ids.tolist(), ws.classes))]
