"""Settings of `make rounds`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Section


class RoundsConfig(Section):
    count: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="number of rounds; null: `make demo` asks all questions at once, and `make rounds` in 3 rounds",
    )
    batches: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="number of questions of each round, in place of count, schedule and initial_share"
    )
    schedule: Literal["constant", "hyperbolic", "inverse_quadratic"] = Field(
        "constant", description="how the number of questions falls from round to round"
    )
    initial_share: float | None = Field(
        None, gt=0, lt=1, description="share of all questions that the first round asks; null: as the schedule says"
    )
    reward_updates: Literal["epochs", "steps"] = Field(
        "epochs",
        description="training of each round's reward model: reward.epochs passes over its answers, or as many gradient steps "
        "as these are in the last round",
    )
    stop_accuracy: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="ask no further round once the reward model surely agrees with this share of held-out judgments (lower "
        "end of the 95 % interval); null: ask all",
    )
