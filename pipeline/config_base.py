"""What every section of the configuration is built from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_IMAGE_SIZE = 4096  # pixels; a square of that side is 48 MiB as a uint8 image, 192 MiB as a float one
MAX_CLASSES = 50_000  # ImageNet-21k has 21,841
MAX_MEMBERS = 100  # of an ensemble of reward networks

Trainable = Literal["head", "last_block", "all"]
Question = Literal["comparison", "image_comparison", "label", "verdict", "rating"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


def expand_path(path: str | Path | None) -> str | Path | None:
    return os.path.expanduser(os.path.expandvars(path)) if isinstance(path, str) else path  # noqa: PTH111


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)
