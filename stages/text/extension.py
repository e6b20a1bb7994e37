"""Runs about texts: what the command line does with a configuration that has the section `items`."""

from __future__ import annotations

from pipeline.run.extension import Extension
from pipeline.text.config import TextConfig
from stages.text import feedback
from stages.text.judging import collect
from stages.text.rank import rank
from stages.text.train import train_reward

EXTENSION = Extension(
    "texts",
    TextConfig,
    {
        "collect": collect,
        "feedback import": feedback.import_pairs,
        "feedback export": feedback.export_pairs,
        "feedback check": feedback.check,
        "feedback stats": feedback.stats,
        "train-reward": train_reward,
        "rank": rank,
    },
)
