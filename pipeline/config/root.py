"""Config: all sections together, and what a run folder needs of any configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

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

RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class RunSettings(Protocol):
    """What a run folder needs of a configuration, whatever the run is about.

    Attributes:
        stage_sections: for each stage, the sections that it depends on; if they change it is not up to date.
    """

    stage_sections: ClassVar[Mapping[str, tuple[str, ...]]]

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def runs(self) -> Path: ...
    @property
    def collect(self) -> CollectConfig: ...
    @property
    def tracking(self) -> TrackingConfig: ...
    @property
    def runtime(self) -> RuntimeConfig: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class Config(Section):
    """A run that classifies images."""

    stage_sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "reference": ("images", "model", "reference"),
        "collect": ("images", "collect"),
        "reward": ("images", "model", "reward"),
        "ppo": ("images", "model", "ppo"),
    }

    name: RunName = "default"
    seed: Seed = 0
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
