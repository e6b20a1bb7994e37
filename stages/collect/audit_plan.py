"""Which images are audited, and where their questions are among the others (docs/audit.md).

Audit images are the first of the pool in the order of a hash of seed and image, so that they are uniform over the pool
whatever the query strategy prefers, and the same every time. They are left out of all other questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TypeVar

import numpy as np

from feedback_store.audit import audit_images
from feedback_store.pages import answer_id
from feedback_store.records import Judgment
from pipeline.run.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AuditSplit:
    """A pool of images in two parts: row numbers.

    Attributes:
        ordinary: that other questions are about.
        reserved: that only audit questions are about, in their order.
    """

    ordinary: np.ndarray
    reserved: np.ndarray

    def count(self, judgments: int, fraction: float) -> int:
        """How many of `judgments` judgments are audit questions: their share, as long as there are images."""
        return min(_share(judgments, fraction), len(self.reserved))

    def divide(self, judgments: int, rows_per_question: int, fraction: float) -> tuple[int, int]:
        """Numbers of other questions and of audit questions that make up `judgments` judgments, or a few more.

        An image of a page is a judgment, like an audit question: so an audit share of a tenth is a tenth of what the person
        decides, and few pages have audit questions, too.

        Args:
            rows_per_question: judgments of each other question.
        """
        audits = self.count(judgments, fraction)
        return -(-(judgments - audits) // rows_per_question), audits


def split_pool(ws: Workspace, pool: np.ndarray) -> AuditSplit:
    """Reserve a share `collect.audit_fraction` of the images of a pool [P], but never all.

    Images that were audited under other settings are in neither part: no other answer about them is trained on.
    """
    wanted = min(_share(len(pool), ws.config.collect.audit_fraction), len(pool) // 2)
    reserved = np.array(
        sorted(pool, key=lambda row: _hash(ws.config.seed, str(ws.table.ids[row])))[:wanted], dtype=np.int64
    )
    audited = [ws.table.position[image] for image in audit_images(ws.run.open_store()) if image in ws.table.position]
    return AuditSplit(pool[~np.isin(pool, [*reserved, *audited])], reserved)


def _hash(seed: int, image: str) -> bytes:
    return hashlib.sha256(f"audit\x1f{seed}\x1f{image}".encode()).digest()


def _share(count: int, fraction: float) -> int:
    """`fraction` of `count`, rounded half up."""
    return int(fraction * count + 0.5)


def interleaved(ordinary: Sequence[T], audits: Sequence[T], fraction: float, rows_per_question: int = 1) -> list[T]:
    """Both in one order, in which audits have their share from the beginning; more of either only append.

    Args:
        rows_per_question: judgments of each ordinary question.
    """
    others, asked = iter(ordinary), 0
    result: list[T] = []
    while len(result) < len(ordinary) + len(audits):
        judged = asked + rows_per_question * (len(result) - asked)
        if asked < min(_share(judged + 1, fraction), len(audits)) or len(result) - asked == len(ordinary):
            result.append(audits[asked])
            asked += 1
        else:
            result.append(next(others))
    return result


def interleaved_answers(answers: Iterable[Judgment], audits: Iterable[Judgment], fraction: float) -> list[Judgment]:
    """The same of stored rows; the rows of a page stay together."""
    pages = [list(page) for _, page in groupby(answers, lambda row: answer_id(row.id))]
    parts = interleaved(pages, [[row] for row in audits], fraction, max(map(len, pages), default=1))
    return [row for part in parts for row in part]


def with_repeats(images: Sequence[int], count: int, repeat_fraction: float) -> list[int]:
    """`count` audit questions to one teacher: rows in their order, a share of them asked a second time later."""
    return list(islice(_asked(images, repeat_fraction), count))


def _asked(images: Sequence[int], repeat_fraction: float) -> Iterator[int]:
    fresh = repeated = 0
    while fresh < len(images) or repeated < fresh:
        due = _share(fresh + repeated + 1, repeat_fraction)
        if fresh == len(images) or (repeated < min(due, fresh)):
            yield images[repeated]
            repeated += 1
        else:
            yield images[fresh]
            fresh += 1
