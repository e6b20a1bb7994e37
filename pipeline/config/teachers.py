"""Settings of the simulated teacher and of the replay of recorded labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from pipeline.config.base import Probability, Section, expand_path, known


class SimulatedConfig(Section):
    """The simulated teacher (METHOD 6, after B-Pref). `name` sets the parameters; a parameter that is set overrides it."""

    name: str = Field("oracle", description="oracle, mistake, noisy, skip, equal, custom")
    beta: float | None = Field(None, ge=-1, le=1e6, description="rationality; -1 is perfectly rational")
    eps_mistake: Probability | None = None
    eps_skip: float | None = Field(None, ge=0, le=1e6)
    eps_equal: float | None = Field(None, ge=0, le=1e6)
    seconds: bool = Field(
        True, description="store simulated response times too, around the usual seconds of the kind of question"
    )
    speed: float = Field(1.0, gt=0, le=100, description="2: answers take half of the usual seconds")
    seconds_spread: float = Field(
        0.45, ge=0, le=2, description="standard deviation of the logarithm of the response times; 0: all are equal"
    )
    fatigue: float = Field(
        0.0, ge=0, le=10, description="growth of the response times per hundred answers; 0.1: by a tenth of the first"
    )
    miss_rate: Probability | None = Field(
        None, description="grid: share of exceptions that are not marked; default: eps_mistake"
    )
    false_alarm_rate: Probability | None = Field(
        None, description="grid: share of right images that are marked; default: eps_mistake"
    )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        from pipeline.kinds.teachers import teachers  # imports torch, which --help does not need

        return known(teachers, name)

    @field_validator("beta")
    @classmethod
    def _beta(cls, beta: float | None) -> float | None:
        if beta is not None and beta != -1 and beta < 0:
            raise ValueError("must be -1 (perfectly rational) or at least 0")
        return beta


class ReplayConfig(Section):
    """Recorded human labels: a CSV file with columns of images, labels and optionally annotators."""

    csv: Path | None = None
    root: Path | None = Field(None, description="folder that the image column is relative to; default: images.root")
    image_column: str = "image"
    label_column: str = "label"
    annotator_column: str | None = None
    votes_per_image: int | None = Field(
        None, ge=1, le=1_000_000, description="number of labels used per image, in the order of the file; null: all"
    )

    _paths = field_validator("csv", "root", mode="before")(expand_path)
