"""Config: all sections together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from pipeline.config.base import Section, expand_path
from pipeline.config.collect import CollectConfig
from pipeline.config.images import ImagesConfig
from pipeline.config.infer import InferConfig
from pipeline.config.live import LiveConfig
from pipeline.config.model import ModelConfig
from pipeline.config.ppo import PPOConfig
from pipeline.config.reference import ReferenceConfig
from pipeline.config.reward import RewardConfig
from pipeline.config.rounds import RoundsConfig
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.serve import ServeConfig
from pipeline.config.tracking import TrackingConfig


class Config(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "default"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    runs: Path = Field(Path("runs"), description="folder of all runs and of the cache they share")
    images: ImagesConfig
    model: ModelConfig = ModelConfig()
    reference: ReferenceConfig = ReferenceConfig()
    collect: CollectConfig = CollectConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PPOConfig = PPOConfig()
    rounds: RoundsConfig = RoundsConfig()
    live: LiveConfig = LiveConfig()
    infer: InferConfig = InferConfig()
    serve: ServeConfig = ServeConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    _paths = field_validator("runs", mode="before")(expand_path)
