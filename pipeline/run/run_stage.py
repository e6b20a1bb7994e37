"""Run one stage from Python, as the command line does. Stages are imported by name: pipeline does not depend on stages."""

from __future__ import annotations

import importlib

from pipeline.config import Config
from pipeline.errors import UserError

# Modules with `run(config, force) -> bool` and `describe(summary) -> str`, in the order of the pipeline. They are
# imported when needed, since importing torch takes seconds.
STAGE_MODULES = {
    "reference": "stages.reference.run",
    "collect": "stages.collect.run",
    "train-reward": "stages.reward.run",
    "ppo": "stages.ppo.run",
}


def run_stage(name: str, config: Config, force: bool = False) -> bool:
    """Run a stage of the run that the configuration names, unless it is up to date.

    Args:
        name: reference, collect, train-reward or ppo; each needs those before it.
        force: run it even if it is up to date.

    Returns:
        Whether it was run.

    Raises:
        UserError: no such stage, an earlier stage is missing, or the configuration does not fit the data.
    """
    if name not in STAGE_MODULES:
        raise UserError(f"unknown stage {name!r}; the stages are {', '.join(STAGE_MODULES)}")
    changed: bool = importlib.import_module(STAGE_MODULES[name]).run(config, force)
    return changed
