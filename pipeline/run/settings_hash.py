"""The hash of the settings that each stage depends on; a stage with another hash is not up to date."""

from __future__ import annotations

import hashlib
import json

from pipeline.config import Config, original_settings

# The sections of the configuration that each stage depends on.
SECTIONS = {
    "reference": ("images", "model", "reference"),
    "collect": ("images", "collect"),
    "reward": ("images", "model", "reward"),
    "ppo": ("images", "model", "ppo"),
}


def settings_hash(config: Config, stage: str) -> str:
    """The hash of the settings that a stage depends on."""
    settings = original_settings(config.model_dump(mode="json"))
    relevant = {name: settings[name] for name in ("seed", *SECTIONS[stage])}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
