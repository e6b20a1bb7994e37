"""Settings of stage one, first half: who answers, what is asked, and the page people answer on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from feedback_store.store_registry import stores
from pipeline.config.base import Fraction, Section, expand_path, known
from pipeline.config.keyboard import KeysConfig
from pipeline.config.server import ServerConfig
from pipeline.config.teachers import ReplayConfig, SimulatedConfig


class CollectConfig(Section):
    folder: Path | None = Field(None, description="where judgments are kept; default: runs/<name>/feedback")
    store: str = Field(
        "csv", description="what keeps judgments: `csv`, or the name or address of a store you installed"
    )
    question: str = Field(
        "comparison", description="the kind of judgment: comparison, image_comparison, label, verdict, rating"
    )
    strategy: str = Field("uniform", description="which questions are asked: uniform")
    teacher: Literal["people", "simulated", "replay"] = Field(
        "simulated", description="who answers in `make demo`; `make collect` asks people unless TEACHER names another"
    )
    count: int | None = Field(
        1000, ge=1, le=1_000_000, description="judgments to have in all; null: all that a replay holds"
    )
    simulated: SimulatedConfig = SimulatedConfig()
    replay: ReplayConfig = ReplayConfig()
    ui: Literal["web", "tk"] = Field("web", description="a page in the browser, or a window")
    annotators: list[str] = Field(
        [], max_length=1000, description="who judges, one link each; default: the name you are logged in by"
    )
    judgments_per_item: int = Field(1, ge=1, le=1000, description="different people who answer each question")
    repeat_fraction: Fraction = Field(
        0.05, description="share of questions asked the same person twice, for consistency"
    )
    gold_fraction: Fraction = Field(0.0, description="share of questions whose answer the reference's labels tell")
    lease_minutes: float = Field(
        15, gt=0, le=525_600, description="how long a question stays with the person it was given to"
    )
    rating_levels: Annotated[int, Field(ge=2, le=9)] = Field(5, description="a rating is 1 to this")
    show_others: bool = Field(False, description="show what other people answered; biases judgments")
    show_model: bool = Field(False, description="show the reference's opinion; biases judgments")
    keys: KeysConfig = KeysConfig()
    server: ServerConfig = ServerConfig()

    _paths = field_validator("folder", mode="before")(expand_path)

    @field_validator("store")
    @classmethod
    def _store(cls, location: str) -> str:
        known(stores, location.partition("://")[0])
        return location

    @field_validator("question")
    @classmethod
    def _question(cls, name: str) -> str:
        from feedback_store.schemas import schemas  # pandas, which the command line's help does not wait for

        return known(schemas, name)

    @field_validator("strategy")
    @classmethod
    def _strategy(cls, name: str) -> str:
        from pipeline.strategies import strategies  # torch, likewise

        return known(strategies, name)

    @field_validator("annotators")
    @classmethod
    def _names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not re.fullmatch(r"[^\W_][\w .@-]{0,63}", name):
                raise ValueError(
                    f"{name!r}: a name has 1 to 64 letters, digits, spaces, . _ @ or -, and starts with a letter"
                )
        if len(set(names)) != len(names):
            raise ValueError("the same name stands twice")
        return names
