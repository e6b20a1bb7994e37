"""Settings of `make infer`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.base import Probability, Section


class InferConfig(Section):
    batch_size: int = Field(64, ge=1, le=4096, description="images per forward pass")
    workers: int = Field(2, ge=1, le=256, description="processes that decode images while the network computes")
    format: Literal["csv", "jsonl", "parquet"] = Field(
        "csv", description="format of the predictions where no output file is named"
    )
    top_k: int = Field(
        0, ge=0, le=1_000_000, description="classes listed per image, most probable first; 0: all classes"
    )
    abstain_below: Probability = Field(0.0, description="no label where the confidence is lower (`abstain`); 0: never")
    reference: bool = Field(False, description="list the reference's prediction beside the policy's")
    contact_sheet: int = Field(
        0, ge=0, le=1000, description="images on a contact sheet beside the predictions; 0: no sheet"
    )
