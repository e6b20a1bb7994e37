"""Settings of `make collect LIVE=1`: training while people answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.config.base import Section


class LiveConfig(Section):
    first_answers: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        8, description="answers before the first training; audit answers are not counted"
    )
    answers_per_round: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        16, description="new answers before each further training"
    )
    growth: float = Field(
        0.2, ge=0, le=10, description="at least this share of the answers so far must be new, too, before each training"
    )
    audit_fraction: float = Field(
        0.1, ge=0, le=0.5, description="share of audit questions, unless collect.audit_fraction is set"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="threads of the training process")
    niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        10, description="how far the training process yields to others (nice); 19: most"
    )
    min_gain: float = Field(
        0.001, ge=0, le=1, description="the page advises to stop below this expected gain of accuracy per minute"
    )
