"""Settings of stage 0: the reference policy and its calibration."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from pipeline.config.base import expand_path
from pipeline.config.training import TrainingConfig


class ReferenceConfig(TrainingConfig):
    checkpoint: Path | None = Field(None, description="model file of a policy to use instead of training one")
    labelled_per_class: int = Field(
        10, ge=0, le=1_000_000, description="labelled images per class; 0: the reference is uniform"
    )
    calibration_folds: int = Field(
        5, ge=0, le=1000, description="folds of the labelled images that fit the policy's temperature; 0 leaves it at 1"
    )

    _paths = field_validator("checkpoint", mode="before")(expand_path)

    @field_validator("calibration_folds")
    @classmethod
    def _folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("needs 0 or at least 2 folds: a fold must not be tested on the images it was trained on")
        return folds
