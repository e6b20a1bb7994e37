"""The questions of a round, which the strategy chooses by the round before, and a teacher's answers to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from feedback_store.audit import is_audit
from feedback_store.store import FeedbackStore
from pipeline.kinds import kinds
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.strategies import Candidates, strategies
from stages.collect.audit_plan import AuditSplit, interleaved_answers, split_pool
from stages.collect.learned import what_was_learned
from stages.collect.question_plan import audit_queries, features_of
from stages.collect.round_gold import with_gold
from stages.collect.round_teachers import ROUND_TEACHERS, RoundTeacher


def ask(ws: Workspace, number: int, count: int, before: Path) -> None:
    """Append the answers of a round, of which some may be stored already.

    Args:
        before: archive of the round before; what is asked depends on it alone, so that an interrupted round asks the same.
    """
    settings, store = ws.config.collect, ws.run.open_store()
    teacher: RoundTeacher = ROUND_TEACHERS[settings.teacher](ws)
    split = split_pool(ws, teacher.pool.numpy())
    kind = kinds.get(settings.question).configured(settings)
    audits = round_audits(store, split, number, count, settings.audit_fraction)
    wanted = -(-(count - len(audits)) // kind.rows_per_question)
    candidates = Candidates(
        torch.from_numpy(split.ordinary),
        log_of_policy(ws, before) if number else ws.log_reference,
        generator(ws.config.seed, Stream.QUESTIONS, number),
        represent=lambda: features_of(ws),
        **(what_was_learned(ws, before, judged_images(ws, store, number)) if number else {}),
    )
    queries = strategies.get(settings.strategy).choose(kind, wanted, candidates)
    if settings.gold_fraction:
        queries = with_gold(ws, kind, queries, store, number)
    answers = list(teacher.answers(queries, number))
    if audits:
        audited = teacher.answers(audit_queries(audits), number, audit=True)
        answers = interleaved_answers(answers, audited, settings.audit_fraction)
    store.append(answers)


def round_audits(store: FeedbackStore, split: AuditSplit, number: int, count: int, fraction: float) -> list[int]:
    """Rows of the images that a round audits: its share of those that earlier rounds did not audit."""
    singles = store.per_image_judgments()
    earlier = singles[singles["round"].astype(int) < number]
    done = int(earlier["source"].map(is_audit).sum()) if len(earlier) else 0
    left: list[int] = split.reserved[done:].tolist()
    return left[: split.count(count, fraction)]


def log_of_policy(ws: Workspace, archive: Path) -> torch.Tensor:
    """log pi [N, C] of a round's policy."""
    return log_policy(ws.scores(*ws.cut(ws.load_policy(archive / "ppo" / "model.safetensors"))))


def judged_images(ws: Workspace, store: FeedbackStore, number: int) -> Counter[int]:
    """How often earlier rounds asked about each image, by row number."""
    pairs, singles = store.comparisons(), store.per_image_judgments()
    ids = [
        *pairs[pairs["round"].astype(int) < number]["image_a"],
        *singles[singles["round"].astype(int) < number]["image"],
    ]
    return Counter(ws.table.position[one] for one in ids if one in ws.table.position)
