"""Settings of experiment tracking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.base import Section


class TrackingConfig(Section):
    """TensorBoard is always written; a tracker gets the same metrics."""

    tracker: Literal["none", "mlflow", "wandb"] = Field(
        "none", description="tracker besides TensorBoard; needs the extra of that name installed"
    )
    project: str = Field("image-rlhf", description="the tracker's project, or experiment")
