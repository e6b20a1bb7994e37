"""Settings of the reward model (`make train-reward`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import MAX_MEMBERS, Fraction
from pipeline.config.training import TrainingConfig


class RewardConfig(TrainingConfig):
    objective: Literal["bradley_terry", "supervised", "joint"] = Field(
        "bradley_terry", description="judgments it is trained on: comparisons, per-image judgments, or all"
    )
    start: Literal["reference", "backbone"] = Field(
        "reference", description="initial weights: the reference's or the backbone's"
    )
    scale: Literal["nats", "unit"] = Field(
        "nats",
        description="unit of the reward: nats of the judgments' likelihood, or its standard deviation under the reference",
    )
    heldout_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of judged images held out; lbfgs holds out each fifth in turn"
    )
    patience: int = Field(
        5, ge=1, le=100_000, description="epochs without a better held-out likelihood before training stops"
    )
    label_smoothing: Fraction = Field(0.0, description="label smoothing of label choices")
    rating: Literal["binned", "scalar"] = Field("binned", description="ratings as ordered bins, or as numbers")
    reliability: bool = Field(
        True,
        description="fit a reliability per annotator, where there are several; of a single one, linear heads expect that "
        "one label choice in eleven is a guess",
    )
    members: int = Field(
        1, ge=1, le=MAX_MEMBERS, description="networks in the ensemble, each trained on a bootstrap of the images"
    )
    pessimism: float = Field(
        0.0, ge=0, le=1000, description="the reward is the members' mean minus this times their standard deviation"
    )
    unlabelled: Literal["none", "balance", "propagate", "consistency", "auto"] = Field(
        "none",
        description="what images that nobody judged teach: nothing, that classes are about equally frequent (linear heads), what "
        "the judgments of their neighbours say of them, or the network's own confident predictions, for changed views; auto: "
        "what held-out judgments prefer",
    )
    curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5],
        max_length=20,
        description="shares of the judgments for the card's learning curve, besides all of them; []: no curve",
    )
