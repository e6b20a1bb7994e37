"""Reinforcement learning from human feedback for image classification: the public API.

    from pipeline import Config, FeedbackStore, Predictor, run_stage

    config = Config.model_validate(
        {
            "name": "tour",
            "images": {"source": "digits", "size": 32},
            "model": {"weights": "none"},
            "reference": {"epochs": 5},
            "collect": {"teacher": "simulated", "count": 500},
        }
    )
    for stage in ("reference", "collect", "train-reward", "ppo"):
        run_stage(stage, config)

    print(Predictor.load("runs/tour").predict("photo.jpg").label)
    print(FeedbackStore.open("runs/tour/feedback").comparisons())

`Config` holds every setting (docs/settings.md); `pipeline.config.load_config` reads one from a YAML file. A stage that
is up to date is not run again. `FeedbackStore` reads and appends judgments, `RewardModel` scores images with what was
learned from them, `Predictor` classifies images with the aligned policy.

Importing this package is fast and prints nothing: each name is imported when it is first used. Progress and warnings
are logged to the loggers `pipeline`, `stages` and `feedback_store`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feedback_store.store import FeedbackStore
    from pipeline.config import Config
    from pipeline.models.predictor import Predictor
    from pipeline.models.reward_model import RewardModel
    from pipeline.run.run_stage import run_stage

__all__ = ["Config", "FeedbackStore", "Predictor", "RewardModel", "run_stage"]

_MODULES = {
    "Config": "pipeline.config",
    "FeedbackStore": "feedback_store.store",
    "Predictor": "pipeline.models.predictor",
    "RewardModel": "pipeline.models.reward_model",
    "run_stage": "pipeline.run.run_stage",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
