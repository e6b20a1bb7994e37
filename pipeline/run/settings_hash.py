"""The hash of the settings that each stage depends on; a stage with another hash is not up to date."""

from __future__ import annotations

import hashlib
import json

from pipeline.config import RunSettings, original_settings


def settings_hash(config: RunSettings, stage: str) -> str:
    """The hash of the settings that a stage depends on."""
    settings = original_settings(config.model_dump(mode="json"))
    relevant = {name: settings[name] for name in ("seed", *config.stage_sections[stage])}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
