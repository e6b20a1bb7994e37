"""The questions of a round, which the strategy chooses by the round before, and a teacher's answers to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from feedback_store.audit import is_audit
from feedback_store.records import NO_ANSWER, Judgment
from feedback_store.store import FeedbackStore
from pipeline.kinds import Queries, kinds
from pipeline.models.policy import log_policy
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.strategies import Candidates, strategies
from pipeline.strategies.kind_choice import most_informative
from stages.collect.audit_plan import AuditSplit, interleaved_answers, split_pool
from stages.collect.learned import what_was_learned
from stages.collect.question_plan import audit_queries, features_of
from stages.collect.round_gold import with_gold
from stages.collect.round_teachers import ROUND_TEACHERS, RoundTeacher


def ask(ws: Workspace, number: int, count: int, before: Path) -> None:
    """Append the answers of a round, of which some may be stored already. All processes must call it; the first writes.

    Args:
        before: archive of the round before; what is asked depends on it alone, so that an interrupted round asks the same.
    """
    settings, store = ws.config.collect, ws.run.open_store()
    teacher: RoundTeacher = ROUND_TEACHERS[settings.teacher](ws)
    split = split_pool(ws, teacher.pool.numpy())
    audits = round_audits(store, split, number, count, settings.audit_fraction)
    candidates = Candidates(
        torch.from_numpy(split.ordinary),
        log_of_policy(ws, before) if number else ws.log_reference,
        generator(ws.config.seed, Stream.QUESTIONS, number),
        represent=lambda: features_of(ws),
        **(what_was_learned(ws, before, *judged_images(ws, store, number)) if number else {}),
    )
    answers: list[Judgment] = []
    if wanted := count - len(audits):
        queries = questions(ws, candidates, wanted)
        if settings.gold_fraction:
            kind = kinds.get(queries.kind).configured(settings)
            queries = with_gold(ws, kind, queries, store, number, teacher.knows)
        answers = list(teacher.answers(queries, number))
    if audits:
        audited = teacher.answers(audit_queries(audits), number, audit=True)
        answers = interleaved_answers(answers, audited, settings.audit_fraction)
    if ws.runtime.is_main:
        store.append(answers)
    ws.runtime.wait()


def questions(ws: Workspace, candidates: Candidates, count: int) -> Queries:
    """What a round asks: the strategy's choice, of the kind that tells most per second if there are several.

    Args:
        count: rows of answers; the last page may have more.
    """
    settings = ws.config.collect
    strategy = strategies.get(settings.strategy)
    choices = [kinds.get(name).configured(settings) for name in ws.config.rounds.questions or [settings.question]]
    plans = [(kind, strategy.choose(kind, -(-count // kind.rows_per_question), candidates)) for kind in choices]
    return most_informative(plans, candidates) if len(plans) > 1 else plans[0][1]


def round_audits(store: FeedbackStore, split: AuditSplit, number: int, count: int, fraction: float) -> list[int]:
    """Rows of the images that a round audits, so that audits have their share of all answers so far.

    Args:
        count: answers of this round.
    """
    tables = [store.comparisons(), store.per_image_judgments()]
    earlier = [table[table["round"].astype(int) < number] for table in tables]
    done = sum(int(table["source"].map(is_audit).sum()) for table in earlier if len(table))
    wanted = split.count(sum(map(len, earlier)) + count, fraction) - done
    left: list[int] = split.reserved[done:].tolist()
    return left[: min(max(0, wanted), count)]


def log_of_policy(ws: Workspace, archive: Path) -> torch.Tensor:
    """log pi [N, C] of a round's policy."""
    return log_policy(ws.scores(*ws.cut(ws.load_policy(archive / "ppo" / "model.safetensors"))))


def judged_images(ws: Workspace, store: FeedbackStore, number: int) -> tuple[Counter[int], Counter[int]]:
    """By row number: how often earlier rounds asked about each image, and how many of the answers tell something.

    Audit questions are left out: they are not trained on.
    """
    asked: Counter[int] = Counter()
    told: Counter[int] = Counter()
    for table, columns in (
        (store.comparisons(), ("image_a", "image_b")),
        (store.per_image_judgments(), ("image", "image")),
    ):
        own = table[(table["round"].astype(int) < number) & ~table["source"].map(is_audit).astype(bool)]
        answer = own["choice"] if "choice" in own else own["answer"]
        for first, second, given in zip(own[columns[0]], own[columns[1]], answer, strict=True):
            for image in {first, second} & ws.table.position.keys():
                row = ws.table.position[image]
                asked[row] += 1
                told[row] += given not in NO_ANSWER
    return asked, told
