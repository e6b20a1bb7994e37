"""Settings of `make rounds`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.base import Section


class RoundsConfig(Section):
    schedule: Literal["constant", "hyperbolic", "inverse_quadratic"] = Field(
        "constant", description="how the number of questions falls from round to round"
    )
    initial_share: float | None = Field(
        None, gt=0, lt=1, description="share of all questions that the first round asks; null: as the schedule says"
    )
