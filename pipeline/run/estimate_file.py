"""ppo/estimate.json: the policy's accuracy as audit answers tell it.

It is renewed whenever `ppo` runs, up to date or not: new audit answers change no weight, so that it is no output in the
manifest.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pipeline.run.atomic_files import Damaged, read_object, write_json

_log = logging.getLogger(__name__)


def _path(run: Path) -> Path:
    return run / "ppo" / "estimate.json"


def write_estimate(run: Path, estimate: dict[str, Any] | None) -> None:
    """Write the estimate of a run, or remove it if there is none."""
    if estimate is None:
        _path(run).unlink(missing_ok=True)
    else:
        write_json(_path(run), estimate)


def read_estimate(run: Path) -> dict[str, Any] | None:
    """The estimate of a run; None if there is none, or if it is damaged, which is reported."""
    if not _path(run).is_file():
        return None
    try:
        return read_object(_path(run), "accuracy", "low", "high", "answers", "images", "verdict", "reason")
    except Damaged as error:
        _log.warning(f"{_path(run)}: damaged ({error}), left out; `make ppo` writes it again")
        return None


def sentence(estimate: dict[str, Any]) -> str:
    """The estimate for people."""
    return (
        f"Accuracy estimated without gold labels: {estimate['accuracy']:.1%} (95 % interval {estimate['low']:.1%} to "
        f"{estimate['high']:.1%}), from {estimate['answers']} audit answers about {estimate['images']} images. "
        f"{estimate['verdict'].capitalize()}: {estimate['reason']}."
    )
