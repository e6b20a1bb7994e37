"""The hash of the settings that each stage depends on; a stage with another hash is not up to date."""

from __future__ import annotations

import hashlib
import json

from pipeline.config import Config, original_names

# The sections of the configuration that each stage depends on.
SECTIONS = {
    "reference": ("images", "model", "reference"),
    "collect": ("images", "collect"),
    "reward": ("images", "model", "reward"),
    "ppo": ("images", "model", "ppo"),
}
# Settings of `collect` that earlier versions did not have, with the value that corresponds to those versions. At that
# value they are left out of the hash, so that stages finished by earlier versions stay up to date.
ADDED_TO_COLLECT = {"store": "csv", "strategy": "uniform"}


def settings_hash(config: Config, stage: str) -> str:
    """The hash of the settings that a stage depends on."""
    settings = original_names(config.model_dump(mode="json"))
    for name, default in ADDED_TO_COLLECT.items():
        if settings["collect"][name] == default:
            del settings["collect"][name]
    relevant = {name: settings[name] for name in ("seed", *SECTIONS[stage])}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
