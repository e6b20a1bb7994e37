"""Settings that the training of the reference and of the reward model share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Fraction, LearningRate, Section


class TrainingConfig(Section):
    """Settings of the reference and of the reward model alike."""

    optimiser: Literal["auto", "adamw", "lbfgs"] = Field(
        "auto",
        description="auto: lbfgs for a linear head (model.trainable: head), which needs none of the settings of training; "
        "adamw otherwise",
    )
    prior_sd: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = Field(
        "auto",
        description="lbfgs: standard deviation, in nats, by which labels or judgments are expected to move utilities; auto: "
        "by cross-validation",
    )
    epochs: int = Field(30, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=65_536, description="images per step")
    lr: LearningRate = Field(1e-3, description="AdamW's peak learning rate; warm-up, then a cosine to zero")
    weight_decay: float = Field(0.01, ge=0, le=1e6)
    warmup_fraction: Fraction = Field(0.05, description="share of all steps in which the learning rate rises")
