"""Rounds of live collection: while people answer, train on the answers so far and rank the questions anew.

This runs in a process of its own. All it needs is in files: the store, and the finished rounds in runs/<name>/rounds/. So
it can be killed at any moment: finished rounds stay, and an interrupted one is trained on the same rows again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from feedback_store.audit import is_audit
from feedback_store.errors import FeedbackError
from feedback_store.prefix import PrefixStore
from feedback_store.records import NO_ANSWER
from feedback_store.store import START, FeedbackStore
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run.atomic_files import Damaged, read_object, write_atomically, write_json
from pipeline.run.workspace import Workspace, open_workspace
from stages.rounds.progress import achieved
from stages.rounds.run import describe_round, keep
from stages.rounds.trained_on import TrainedOn, read_round, rows_of_round, train, whole_store

_log = logging.getLogger(__name__)

STARTED, PROGRESS, QUEUE = ".started.json", "progress.json", "queue.json"
AHEAD, LEAST = 4, 100  # questions that are ranked: so many times those until the next training, and some more
POLL_SECONDS = 1.0
Rank = Callable[[Workspace, Path, int, int], None]


class LiveRounds:
    """The rounds of one run; `step` does what is due.

    Args:
        rank: `stages.collect.live_queue.write_queue`: stages do not import each other. Called with the workspace, the archive
            of the newest round, the number of the round that is asked, and the number of judgments to ask for.
    """

    def __init__(self, config: Config, rank: Rank) -> None:
        runtime = config.runtime.model_copy(update={"threads": config.live.threads})
        self.config = config.model_copy(update={"runtime": runtime})
        self.rank, self.folder = rank, config.runs / config.name / "rounds"
        self.ws = open_workspace(self.config)
        self.store = self.ws.run.open_store()
        self.state: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._predictions: list[Tensor] = []
        self._number = 0
        self._counted: dict[int, int] = {}
        self._position, self._shown = START, False
        self._answers = 0  # when the store was last read
        self._refused = 0  # answers at the last training that a stage refused
        self._refusal = ""
        self._unranked = -1  # round whose questions could not be ranked

    @property
    def number(self) -> int:
        """Of the next round: that of finished ones."""
        while read_round(self.folder / str(self._number)) is not None:
            self._number += 1
        return self._number

    def step(self) -> bool:
        """Rank the questions if the newest round has not done it, train if enough answers are new, and say how far it is.

        Returns:
            whether a round was trained.
        """
        number = self.number
        if number and not (self.folder / str(number - 1) / QUEUE).is_file():
            self._rank(number)
        changed = self._read()
        due = self._due(number)
        if self._answers < due:
            self._show(changed, {"training": None, "waiting_for": due - self._answers, "message": self._refusal})
            return False
        on = self._started(number) or whole_store(self.ws, live=True)
        write_json(self.folder / STARTED, {"round": number, **on.as_json()})
        self._show(False, {"training": number, "waiting_for": 0, "message": ""})
        try:
            train(self.config, on, self.store)
        except UserError as error:
            if not self._refused:  # said once; the page says it, too, as long as it is so
                _log.warning(f"round {number} was not trained and waits for more answers: {error}")
            self._refused, self._refusal = self._answers, str(error).partition(";")[0]
            (self.folder / STARTED).unlink(missing_ok=True)
            return False
        keep(self.config, self.folder / str(number), on.as_json())
        (self.folder / STARTED).unlink(missing_ok=True)
        self._refused, self._refusal = 0, ""
        self._rank(number + 1)
        self._show(True, {"training": None, "waiting_for": 0, "message": ""})
        _log.info(self._line())
        return True

    def _rank(self, number: int) -> None:
        """Rank the questions of a round; without a ranking they are asked in the order before."""
        if self._unranked == number:
            return
        try:
            self.rank(self.ws, self.folder / str(number - 1), number, self._ahead(number))
        except UserError as error:
            self._unranked = number
            _log.warning(f"the questions of round {number} keep their order: {error}")

    def _read(self) -> bool:
        """Count the answers if rows were stored since the last call; whether there were any."""
        try:
            added = self.store.rows_since(self._position)
            changed = bool(added.rows) or added.reset
            if changed:
                self._answers = trained_answers(self.store)
        except FeedbackError as error:  # the owner has to repair the store; the page says so, too
            self._refusal = str(error).partition(";")[0]
            return False
        if not self._refused:
            self._refusal = ""  # the store was repaired
        self._position = added.position
        return changed

    def _due(self, number: int) -> int:
        """Number of answers from which the next round is trained."""
        settings = self.config.live
        if self._refused:
            return self._refused + max(settings.first_answers, math.ceil(settings.growth * self._refused))
        if not number:
            return settings.first_answers
        before = self._answers_of(number - 1)
        return before + max(settings.answers_per_round, math.ceil(settings.growth * before))

    def _answers_of(self, number: int) -> int:
        """Number of answers that a finished round was trained on; it is counted once."""
        if number not in self._counted:
            on = rows_of_round(self.folder / str(number), self.store)
            self._counted[number] = trained_answers(PrefixStore(self.store, on.prefix.counts)) if on else 0
        return self._counted[number]

    def _ahead(self, number: int) -> int:
        """How many judgments to rank questions for, until the next round is trained."""
        return LEAST + AHEAD * (self._due(number) - self._answers_of(number - 1))

    def _started(self, number: int) -> TrainedOn | None:
        """The rows of an interrupted round, so that it resumes; None if there is none."""
        try:
            entries = read_object(self.folder / STARTED, "round")
        except (OSError, Damaged):
            return None
        return TrainedOn.from_json(entries) if entries["round"] == number else None

    def _show(self, changed: bool, state: dict[str, Any]) -> None:
        """Write progress.json if it changed, and rounds.csv after a round."""
        if self._shown and not changed and state == self.state:
            return
        for number in range(len(self._rows), self.number):
            archive = self.folder / str(number)
            if on := rows_of_round(archive, self.store):
                collect = self.config.collect.model_copy(update={"first_rows": on.prefix.counts})
                limited = self.config.model_copy(update={"collect": collect})
                self._rows.append(describe_round(limited, archive, number))
                network = self.ws.load_policy(archive / "ppo" / "model.safetensors")
                self._predictions.append(self.ws.scores(*self.ws.cut(network)).argmax(-1))
                write_atomically(self.folder / "rounds.csv", pd.DataFrame(self._rows).to_csv(index=False).encode())
        self.state, self._shown = state, True
        self.progress = achieved(self.ws, self._rows, self._predictions) | {"state": state}
        write_json(self.folder / PROGRESS, self.progress)

    def _line(self) -> str:
        """The newest round for the terminal."""
        newest = self._rows[-1]
        text = f"round {newest['round']} trained on {newest['answers']} answers"
        if estimate := self.progress["estimate"]:
            text += (
                f"; estimated accuracy {estimate['accuracy']:.1%} (95 % interval {estimate['low']:.1%} to "
                f"{estimate['high']:.1%})"
            )
        return text


def trained_answers(store: FeedbackStore) -> int:
    """Number of current judgments that can be trained on: no audit answers, none that say `cant_tell` or `bad_image`."""
    pairs, singles = store.comparisons(), store.per_image_judgments()
    return int(
        (~pairs["choice"].isin(NO_ANSWER)).sum()
        + (~singles["answer"].isin(NO_ANSWER) & ~singles["source"].map(is_audit).astype(bool)).sum()
    )


def run(config: Config, rank: Rank, pause: Callable[[float], object] = time.sleep) -> None:
    """Train whenever it is due, until the process ends; the caller holds the lock of runs/<name>/rounds/."""
    rounds = LiveRounds(config, rank)
    while True:
        if not rounds.step():
            pause(POLL_SECONDS)
