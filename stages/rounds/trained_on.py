"""What a round was trained on, as its round.json says it, and the training of exactly these rows."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from feedback_store.errors import FeedbackError
from feedback_store.prefix import Prefix, prefix_of
from feedback_store.store import FeedbackStore
from feedback_store.tables import TABLES
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run.atomic_files import Damaged, read_object
from pipeline.run.run_stage import STAGE_MODULES
from pipeline.run.workspace import Workspace

ROUND = "round.json"


@dataclass(frozen=True)
class TrainedOn:
    """The stored rows that a round was trained on, and the threads it used: sums are rounded differently with others.

    Attributes:
        threads: of torch.
        precision: fp32 or bf16.
        blas_threads: of NumPy and SciPy; None: as many as they choose.
        live: whether it was trained while people answered.
    """

    prefix: Prefix
    threads: int
    precision: str
    blas_threads: int | None = None
    live: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entries of round.json."""
        return {
            "trained_on": {"rows": dict(self.prefix.rows), "sha256": self.prefix.sha256},
            "threads": self.threads,
            "precision": self.precision,
            "blas_threads": self.blas_threads,
            "live": self.live,
        }

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> TrainedOn | None:
        """The same from round.json; None in those of earlier versions, or where it is damaged."""
        try:
            trained_on = entries["trained_on"]
            prefix = Prefix({table: int(trained_on["rows"][table]) for table in TABLES}, str(trained_on["sha256"]))
            threads, precision = int(entries["threads"]), str(entries["precision"])
            return cls(prefix, threads, precision, entries["blas_threads"], bool(entries["live"]))
        except (KeyError, TypeError, ValueError):
            return None


def read_round(archive: Path) -> dict[str, Any] | None:
    """round.json of a finished round; None if it is missing or damaged."""
    try:
        return read_object(archive / ROUND)
    except (OSError, Damaged):
        return None


def whole_store(ws: Workspace, *, live: bool = False) -> TrainedOn:
    """A round of this process on all rows that are stored now."""
    threads = torch.get_num_threads()
    precision = "bf16" if ws.bf16 else "fp32"
    return TrainedOn(prefix_of(ws.run.open_store()), threads, precision, threads if live else None, live)


def rows_of_round(archive: Path, store: FeedbackStore) -> TrainedOn | None:
    """What a finished round was trained on; None if it is not finished.

    Rounds of earlier versions did not say it: they were trained on all rows of their number and below.
    """
    entries = read_round(archive)
    if entries is None:
        return None
    if known := TrainedOn.from_json(entries):
        return known
    counts = []
    for table in TABLES:
        own = (store.all_rows(table)["round"].astype(int) <= int(archive.name)).to_numpy().nonzero()[0]
        counts.append(int(own[-1]) + 1 if len(own) else 0)
    return TrainedOn(prefix_of(store, counts), torch.get_num_threads(), "auto")


def train(config: Config, on: TrainedOn, store: FeedbackStore, *, chance_allowed: bool = False) -> None:
    """Train reward model and policy of the run on these rows, in runs/<name>/reward and ppo; finished ones are kept.

    Args:
        store: with at least these rows.
        chance_allowed: align even if the reward model is no better than chance.

    Raises:
        UserError: the stored rows are not the ones, or a stage refuses them.
    """
    try:
        present = prefix_of(store, on.prefix.counts)
    except FeedbackError as error:
        raise UserError(str(error)) from None
    if present.sha256 != on.prefix.sha256:
        raise UserError(
            f"{store.location}: the first {sum(on.prefix.counts)} rows are not those that the round was trained on; "
            "restore them from a copy"
        )
    collect = config.collect.model_copy(update={"first_rows": on.prefix.counts})
    runtime = config.runtime.model_copy(update={"threads": on.threads, "precision": on.precision})
    limited = config.model_copy(update={"collect": collect, "runtime": runtime})
    with threadpool_limits(on.blas_threads, user_api="blas") if on.blas_threads else nullcontext():
        for name, options in (("train-reward", {}), ("ppo", {"chance_allowed": chance_allowed})):
            importlib.import_module(STAGE_MODULES[name]).run(limited, **options)
