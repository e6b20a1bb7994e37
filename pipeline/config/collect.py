"""Settings of the stage collect: who answers, what is asked, and the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from feedback_store.errors import FeedbackError
from feedback_store.store_registry import refuse_password, stores
from pipeline.config.base import Fraction, Section, expand_path, known
from pipeline.config.judging_keys import KeysConfig
from pipeline.config.server import ServerConfig
from pipeline.config.teachers import ReplayConfig, SimulatedConfig


class CollectConfig(Section):
    folder: Path | None = Field(None, description="where judgments are stored; default: runs/<name>/feedback")
    store: str = Field(
        "csv",
        description="where judgments are stored: `csv`, postgresql://user@host/database (without a password), or the name or "
        "address of an installed store",
    )
    question: str = Field(
        "comparison", description="the kind of judgment: comparison, image_comparison, label, verdict, rating, grid"
    )
    strategy: str = Field(
        "uniform",
        description="query strategy: uniform, typical, k_center, margin, entropy, disagreement, k_center_entropy, "
        "k_center_disagreement, near_tie, large_gap, expected_gain",
    )
    teacher: Literal["people", "simulated", "replay"] = Field(
        "simulated", description="who answers in `make demo`; `make collect` asks people unless TEACHER names another"
    )
    count: int | None = Field(
        1000, ge=1, le=1_000_000, description="total number of judgments; null: one per image, or all that a replay has"
    )
    simulated: SimulatedConfig = SimulatedConfig()
    replay: ReplayConfig = ReplayConfig()
    ui: Literal["web", "tk"] = Field("web", description="a page in the browser, or a window")
    annotators: list[str] = Field(
        [], max_length=1000, description="who judges, each with a personal link; default: your login name"
    )
    judgments_per_item: int = Field(1, ge=1, le=1000, description="number of people who answer each question")
    repeat_fraction: Fraction = Field(
        0.05, description="share of questions that a person is asked again, for consistency"
    )
    gold_fraction: Fraction = Field(
        0.0, description="share of gold items: questions about labelled images of the reference"
    )
    audit_fraction: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of audit questions: about images drawn uniformly, never trained on, to estimate the policy's accuracy",
    )
    audit_width: float = Field(
        0.2, gt=0, le=1, description="widest 95 % interval of the estimated accuracy that is called enough"
    )
    first_rows: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="read only so many first rows of comparisons and of per-image judgments, to train again as before",
    )
    lease_minutes: float = Field(15, gt=0, le=525_600, description="how long a question is reserved for a person")
    rating_levels: Annotated[int, Field(ge=2, le=9)] = Field(5, description="ratings are 1 to this number")
    grid_tiles: int = Field(24, ge=6, le=60, description="images on a page of the grid question")
    show_others: bool = Field(False, description="show other people's answers; biases judgments")
    show_model: bool = Field(False, description="show the reference's prediction; biases judgments")
    keys: KeysConfig = KeysConfig()
    server: ServerConfig = ServerConfig()

    _paths = field_validator("folder", mode="before")(expand_path)

    @field_validator("store")
    @classmethod
    def _store(cls, location: str) -> str:
        known(stores, location.partition("://")[0])
        try:
            refuse_password(location)
        except FeedbackError as error:
            raise ValueError(str(error)) from None
        return location

    @field_validator("question")
    @classmethod
    def _question(cls, name: str) -> str:
        from feedback_store.schemas import schemas  # imports pandas, which --help does not need

        return known(schemas, name)

    @field_validator("strategy")
    @classmethod
    def _strategy(cls, name: str) -> str:
        from pipeline.strategies import strategies  # imports torch, which --help does not need

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
            raise ValueError("a name is listed twice; remove one")
        return names
