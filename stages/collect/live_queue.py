"""The queue of live collection: questions in the order in which the newest round's models want them asked.

The training process writes it into the round's archive; the page's server reads it when it appears.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from feedback_store.audit import is_audit
from feedback_store.errors import FeedbackError
from feedback_store.schemas.base import Subject
from pipeline.kinds import kinds
from pipeline.kinds.items import Item, distinct, items_of
from pipeline.run.atomic_files import Damaged, read_object, write_atomically
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.strategies import Candidates, strategies
from stages.collect.audit_plan import interleaved, split_pool
from stages.collect.learned import what_was_learned
from stages.collect.next_round import judged_images, log_of_policy
from stages.collect.question_plan import audit_items, features_of, pool_of, with_gold_tiles

_log = logging.getLogger(__name__)

QUEUE = "queue.json"
POLL_SECONDS = 0.5
LATER_ROUNDS = 2**31  # of whichever round an answer is, it was given before


@dataclass(frozen=True)
class Queue:
    """Questions by rank.

    Attributes:
        round: number of the round that they belong to: one more than that of the models that chose them.
        items: the most valuable first, audit questions among them in their share.
    """

    round: int
    items: list[Item]


def ranked(ws: Workspace, archive: Path, number: int, count: int) -> Queue:
    """The questions that the strategy prefers after a round.

    Args:
        archive: of the round before.
        number: of the round that is asked.
        count: judgments to ask for.
    """
    settings, store = ws.config.collect, ws.run.open_store()
    kind = kinds.get(settings.question).configured(settings)
    split, each = split_pool(ws, pool_of(ws)), kind.rows_per_question
    rows = store.per_image_judgments()
    answered = Counter(rows.loc[rows["source"].map(is_audit).astype(bool), "image"])
    left = [row for row in split.reserved.tolist() if answered[ws.table.ids[row]] < settings.judgments_per_item]
    wanted, share = split.divide(count, each, settings.audit_fraction)
    audits = left[:share]
    candidates = Candidates(
        torch.from_numpy(split.ordinary),
        log_of_policy(ws, archive),
        generator(ws.config.seed, Stream.QUESTIONS, number),
        represent=lambda: features_of(ws),
        **what_was_learned(ws, archive, *judged_images(ws, store, LATER_ROUNDS)),
    )
    queries = strategies.get(settings.strategy).choose(kind, wanted, candidates)
    if settings.gold_fraction:
        queries = with_gold_tiles(ws, kind, queries, number) or queries
    items = distinct(items_of(queries, ws.table.ids.tolist(), ws.classes))
    return Queue(number, interleaved(items, audit_items(ws, audits), settings.audit_fraction, each))


def write_queue(ws: Workspace, archive: Path, number: int, count: int) -> None:
    """Rank the questions after a round and put them into its archive; the arguments are those of `ranked`."""
    queue = ranked(ws, archive, number, count)
    items = [
        {"kind": item.kind, "images": item.subject.images, "labels": item.subject.labels, "audit": item.audit}
        for item in queue.items
    ]
    write_atomically(archive / QUEUE, json.dumps({"round": queue.round, "items": items}).encode())


def read_queue(path: Path, *, warn: bool = True) -> Queue | None:
    """A queue; None if it is missing or damaged: the questions are then asked in the order before.

    Args:
        warn: say that it is damaged.
    """
    try:
        stored = read_object(path, "round", "items")
        items = [
            Item(one["kind"], Subject(tuple(one["images"]), tuple(one["labels"])), audit=one["audit"])
            for one in stored["items"]
        ]
        for item in items:
            item.key  # noqa: B018  computed here, in the watcher's thread
        return Queue(int(stored["round"]), items)
    except FileNotFoundError:
        return None
    except (Damaged, OSError, KeyError, TypeError, ValueError, FeedbackError) as error:
        if warn:
            _log.warning(f"{path}: damaged ({error}), left out; delete it, and it is made again")
        return None


class QueueWatcher:
    """Notices new queues in runs/<name>/rounds/, in a thread of its own, so that no request waits for a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._next = folder, 0
        self._damaged: Path | None = None  # a file that could not be read, which was said
        self._new: deque[Queue] = deque(maxlen=1)  # shared by two threads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="queues", daemon=True)

    def earlier(self) -> Iterator[Queue]:
        """The queues that there are already, in order; call it before `start`."""
        while (self.folder / str(self._next)).is_dir():
            path = self.folder / str(self._next) / QUEUE
            queue = read_queue(path, warn=path != self._damaged)
            self._damaged = path if queue is None and path.is_file() else None
            if queue is None and not (self.folder / str(self._next + 1)).is_dir():
                return  # it is written soon, or made again
            self._next += 1
            if queue:
                yield queue

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def take(self) -> Queue | None:
        """The newest queue, once; None if there is no new one."""
        try:
            return self._new.pop()
        except IndexError:
            return None

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            for queue in self.earlier():
                self._new.append(queue)
