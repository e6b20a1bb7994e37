"""The packages of the extra `control`, checked before anything that imports them."""

from __future__ import annotations

from pipeline.errors import UserError
from pipeline.run.optional_packages import missing

PACKAGES = ("gymnasium", "stable_baselines3")


def require_extra() -> None:
    """Raise UserError if a package of the extra `control` is not installed."""
    if absent := missing(PACKAGES):
        raise UserError(
            f"environment: {' and '.join(absent)} not installed; control tasks need them: pip install 'image-rlhf[control]'"
        )
