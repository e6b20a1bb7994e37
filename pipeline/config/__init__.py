"""The typed configuration: one frozen section per stage; unknown keys are rejected by name."""

from pipeline.config.images import AugmentConfig, ImagesConfig
from pipeline.config.load import (
    dump_config,
    known_keys,
    load_config,
    load_saved_config,
    load_settings,
    parse_config,
    parse_settings,
    read_saved_tree,
    read_tree,
    settings_table,
)
from pipeline.config.model import ModelConfig
from pipeline.config.reference import ReferenceConfig
from pipeline.config.renamed import original_settings
from pipeline.config.reward import RewardConfig
from pipeline.config.root import Config, RunSettings
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.training import TrainingConfig

__all__ = [
    "AugmentConfig",
    "Config",
    "ImagesConfig",
    "ModelConfig",
    "ReferenceConfig",
    "RewardConfig",
    "RunSettings",
    "RuntimeConfig",
    "TrainingConfig",
    "dump_config",
    "known_keys",
    "load_config",
    "load_saved_config",
    "load_settings",
    "original_settings",
    "parse_config",
    "parse_settings",
    "read_saved_tree",
    "read_tree",
    "settings_table",
]
