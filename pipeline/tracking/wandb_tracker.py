"""Weights & Biases: one W&B run per stage, grouped by run. WANDB_MODE=offline needs no account and no network."""

from __future__ import annotations

from collections.abc import Mapping

import wandb

from pipeline.tracking.tracker import Figures, Opening, Status

EXIT_CODES = {"finished": 0, "stopped": 130, "failed": 1}
TIMEOUT_SECONDS = 30  # to connect and to log in; after that the stage starts without W&B


class WandbTracker:
    """A run of W&B. Implements `Tracker`."""

    def __init__(self, opening: Opening) -> None:
        opening.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off", silent=True, init_timeout=TIMEOUT_SECONDS, login_timeout=TIMEOUT_SECONDS
        )
        self._run = wandb.init(
            project=opening.project,
            group=opening.name,
            job_type=opening.stage,
            name=f"{opening.name}/{opening.stage}",
            config=dict(opening.settings),
            dir=str(opening.folder),
            id=opening.known,
            resume="allow" if opening.known else None,
            reinit="create_new",
            settings=settings,
        )
        self.id = self._run.id
        self.where = str(self._run.dir if self._run.offline else self._run.url)

    def log(self, row: Mapping[str, float], step: int) -> None:
        self._run.log(dict(row), step=step)

    def summarise(self, figures: Figures) -> None:
        self._run.summary.update(dict(figures))

    def close(self, status: Status) -> None:
        self._run.finish(exit_code=EXIT_CODES[status])
